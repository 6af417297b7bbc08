//! A private Redis.

mod client;
mod launch;
mod options;
mod replication;

use std::path::PathBuf;

use rustix::process::Signal;

pub(crate) use self::client::{ask, ask_with_tls};
pub use self::launch::REDIS_ARGUMENTS;
pub(crate) use self::launch::{owned, write_certificate};
pub use self::options::{REDIS_SERVER_VARIABLE, RedisOptions, RedisServer};
use crate::data::DataFolder;
use crate::logins::{ADMIN, admin_url, redis_users};
use crate::process::{Process, on_free_port};
use crate::root::{Account, Root};
use crate::{Error, ServerCertificate};

/// A private Redis on a loopback port, with the settings and the users of `docker-compose.yml`. Dropping it
/// stops it and removes its data.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    root: Root,
    account: Account,
    folder: DataFolder,
    port: u16,
    options: RedisOptions,
}

impl Redis {
    /// Starts a private Redis for tests. Creates the private root first if necessary. Its users may also use
    /// the tests' keys. `extra` is appended to the server's command line, such as `&["--maxmemory", "8mb"]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if Redis does not become ready.
    pub fn private(extra: &[&str]) -> Result<Self, Error> {
        Self::private_with(RedisOptions { extra: owned(extra), ..RedisOptions::default() })
    }

    /// Like [`Redis::private`], with these options.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if Redis does not become ready.
    pub fn private_with(options: RedisOptions) -> Result<Self, Error> {
        Self::start_with(&options.server.root()?, options)
    }

    /// Starts a Redis from an existing root, with exactly the users that are shipped. `extra` is appended to
    /// the server's command line.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if Redis does not become ready.
    pub fn start(root: &Root, extra: &[&str]) -> Result<Self, Error> {
        let acl = Some(redis_users().to_owned());
        Self::start_with(root, RedisOptions { extra: owned(extra), acl, ..RedisOptions::default() })
    }

    /// Like [`Redis::start`], with these options.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if Redis does not become ready.
    pub fn start_with(root: &Root, options: RedisOptions) -> Result<Self, Error> {
        let account = root.account(options.server.user())?;
        let folder = DataFolder::create(root, account)?;
        launch::write_files(&folder, account, &options)?;
        let tls = options.tls.is_some();
        let (process, port) = on_free_port(
            |port| launch::launch(root, account, &folder, port, &options),
            |process, port| launch::wait_ready(process, port, tls),
        )?;
        Ok(Self { process, root: root.clone(), account, folder, port, options })
    }

    /// The administrator's URL, `redis://fleet:fleet@127.0.0.1:<port>`, or `rediss://…` with TLS.
    /// [`RedisLogin::of`](crate::RedisLogin::of) returns it for another login.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        admin_url(scheme, self.port, "")
    }

    /// Replaces the certificate. The next [`Redis::restart`] uses it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn renew(&self, certificate: &ServerCertificate) -> Result<(), Error> {
        write_certificate(&self.folder, self.account, certificate)
    }

    /// Replaces the ACL file. The next [`Redis::restart`] uses it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn set_acl(&self, acl: &str) -> Result<(), Error> {
        launch::write_acl(&self.folder, self.account, self.options.server, acl)
    }

    /// The folder of the append-only file. It remains after [`Redis::kill`].
    #[must_use]
    pub fn append_only_folder(&self) -> PathBuf {
        self.folder.data_host().join("appendonlydir")
    }

    /// The TCP port. [`Redis::restart`] keeps it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server with SIGKILL and waits for its end. The data remains for [`Redis::restart`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if the process cannot be killed.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Restarts the server on the same port with the same data and waits until the data is loaded. Kills it
    /// first if it still runs.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready, for example because its port was taken meanwhile.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.process = launch::launch(&self.root, self.account, &self.folder, self.port, &self.options)?;
        launch::wait_ready(&mut self.process, self.port, self.options.tls.is_some())
    }

    /// Kills the server with SIGKILL and deletes its data, as if its machine were lost. It cannot be restarted.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if the process cannot be killed, [`Error::Io`] if the data cannot be deleted.
    pub fn destroy(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.folder.delete_data()
    }

    /// Whether the server runs, paused or not.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sends a command as the administrator and returns the values of the reply as a flat list. A null is an
    /// empty value. On a server with TLS the command runs in the root's command-line client, and the list has
    /// one value for each line.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if the server does not respond within 2 s, or responds with an error.
    pub fn command(&self, words: &[&str]) -> Result<Vec<String>, Error> {
        let asked = if self.options.tls.is_some() {
            client::ask_with_tls(&self.root, self.account, self.options.server, self.port, Some(ADMIN), words)
        } else {
            ask(self.port, Some(ADMIN), words)
        };
        asked.map_err(|error| self.process.control_error(&format!("{}: {error}", words.join(" "))))
    }

    /// Pauses the server with SIGSTOP: connections stay open without responses.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)
    }

    /// Resumes after [`Redis::pause`] with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Nobody can handle an error here. The kernel kills the server when this process ends.
        drop(self.process.kill());
    }
}

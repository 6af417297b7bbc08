//! A private PostgreSQL with TimescaleDB.

mod cluster;
pub(crate) mod options;
pub(crate) mod standby;

use std::time::Duration;

use rustix::process::Signal;

use self::cluster::{FLEET, init, launch, show, wait_ready};
use self::options::PostgresOptions;
use crate::data::DataFolder;
use crate::logins::{admin_url, roles_sql};
use crate::process::{Process, holds_within, on_free_port, send};
use crate::root::{Account, POSTGRES_BIN, Root};
use crate::{DatabaseLogin, Error, Progress, ServerCertificate, proc};

/// The deadline for an immediate shutdown, and for the end of killed backends.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A private PostgreSQL with TimescaleDB on a loopback port. `fsync` and `synchronous_commit` are on. It has
/// the logins of `docker-compose.yml`. Superuser, password and database are all named `fleet`. Dropping it
/// stops it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    root: Root,
    account: Account,
    folder: DataFolder,
    port: u16,
    options: PostgresOptions,
}

impl Postgres {
    /// Starts a private PostgreSQL. Creates the private root first if necessary. `extra` contains settings,
    /// such as `&["max_connections=20"]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if PostgreSQL does not become
    /// ready.
    pub fn private(extra: &[&str]) -> Result<Self, Error> {
        Self::start(&Root::ensure(&Progress::stderr())?, extra)
    }

    /// Like [`Postgres::private`], with these options.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if PostgreSQL does not become
    /// ready.
    pub fn private_with(options: PostgresOptions) -> Result<Self, Error> {
        Self::start_with(&Root::ensure(&Progress::stderr())?, options)
    }

    /// Like [`Postgres::private`], from an existing root.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if PostgreSQL does not become ready.
    pub fn start(root: &Root, extra: &[&str]) -> Result<Self, Error> {
        let extra = extra.iter().map(|&setting| setting.to_owned()).collect();
        Self::start_with(root, PostgresOptions { extra, ..PostgresOptions::default() })
    }

    fn start_with(root: &Root, options: PostgresOptions) -> Result<Self, Error> {
        let account = root.account("postgres")?;
        let folder = DataFolder::create(root, account)?;
        init(root, account, &folder)?;
        if let Some(certificate) = &options.tls {
            show(&folder, account, certificate)?;
        }
        let (process, port) = on_free_port(
            |port| launch(root, account, &folder, port, &options),
            |process, _| wait_ready(process, &folder),
        )?;
        let postgres = Self { process, root: root.clone(), account, folder, port, options };
        postgres.psql_in("postgres", &format!("CREATE DATABASE {FLEET}"))?;
        if !postgres.options.without_logins {
            postgres.psql(&roles_sql())?;
        }
        Ok(postgres)
    }

    /// The administrator's URL, `postgres://fleet:fleet@127.0.0.1:<port>/fleet`.
    /// [`DatabaseLogin::of`](crate::DatabaseLogin::of) returns it for another login.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(FLEET)
    }

    /// Replaces the certificate. The next [`Postgres::restart`] uses it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn renew(&self, certificate: &ServerCertificate) -> Result<(), Error> {
        show(&self.folder, self.account, certificate)
    }

    /// The TCP port. [`Postgres::restart`] keeps it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in the database `fleet` with the root's psql. Returns one line for each row, with columns
    /// separated by `|`.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] with psql's message if the SQL fails.
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        self.psql_in(FLEET, sql)
    }

    /// The command line, as separate arguments, that opens the database with a login. Uses psql of the PATH
    /// if installed, otherwise the root's.
    #[must_use]
    pub fn psql_command(&self, login: DatabaseLogin) -> Vec<String> {
        let url = login.of(&self.url());
        let path = std::env::var_os("PATH").unwrap_or_default();
        if std::env::split_paths(&path).any(|folder| folder.join("psql").is_file()) {
            vec!["psql".to_owned(), url]
        } else {
            let root = self.root.path().display().to_string();
            vec!["chroot".to_owned(), root, format!("{POSTGRES_BIN}/psql"), url]
        }
    }

    /// Shuts down immediately (SIGQUIT), without a checkpoint. The next start performs crash recovery.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run, or has not ended after 20 s.
    pub fn stop_immediate(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::QUIT)?;
        if self.process.ended_within(STOP_WITHIN) {
            return Ok(());
        }
        let pid = self.process.pid();
        let left: Vec<_> = std::iter::once(pid).chain(proc::children_of(pid)).map(proc::describe).collect();
        let log = self.process.log();
        let lines: Vec<_> = log.lines().rev().take(12).collect();
        let said = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        Err(self.process.control_error(&format!(
            "still runs {} s after SIGQUIT:\n{}\nits log ends with\n{said}",
            STOP_WITHIN.as_secs(),
            left.join("\n")
        )))
    }

    /// Kills the server and all its backends with SIGKILL and waits for their end. The data remains for
    /// [`Postgres::restart`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if a process cannot be killed.
    pub fn kill(&mut self) -> Result<(), Error> {
        if !self.process.is_running() {
            return Ok(());
        }
        // A stopped server cannot start another backend between listing and killing them.
        self.process.signal(Signal::STOP)?;
        let backends = proc::children_of(self.process.pid());
        for &pid in &backends {
            // Fails if the backend has already ended, which is fine.
            let _ = send(pid, Signal::KILL);
        }
        self.process.kill()?;
        // The next start fails while a backend still uses the shared memory.
        if holds_within(STOP_WITHIN, || !backends.iter().any(|&pid| proc::is_running(pid))) {
            return Ok(());
        }
        Err(self.process.control_error("a backend did not end after SIGKILL"))
    }

    /// Restarts the server on the same port with the same data and waits for its recovery. Kills it first if
    /// it still runs.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready, for example because its port was taken meanwhile.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        self.process = launch(&self.root, self.account, &self.folder, self.port, &self.options)?;
        wait_ready(&mut self.process, &self.folder)
    }

    /// Pauses the server and all its backends with SIGSTOP: connections stay open without responses.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)?;
        self.signal_backends(Signal::STOP);
        Ok(())
    }

    /// Resumes after [`Postgres::pause`] with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.signal_backends(Signal::CONT);
        self.process.signal(Signal::CONT)
    }

    /// Kills the server with SIGKILL and deletes its data, as when its machine is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if a process cannot be killed.
    pub fn destroy(mut self) -> Result<(), Error> {
        // The data folder is removed when it is dropped.
        self.kill()
    }

    fn signal_backends(&self, signal: Signal) {
        for pid in proc::children_of(self.process.pid()) {
            // A backend that ended meanwhile needs no signal.
            let _ = send(pid, signal);
        }
    }

    fn url_of(&self, database: &str) -> String {
        admin_url("postgres", self.port, &format!("/{database}"))
    }

    fn psql_in(&self, database: &str, sql: &str) -> Result<String, Error> {
        let psql = format!("{POSTGRES_BIN}/psql");
        let url = self.url_of(database);
        let argv: Vec<String> =
            [&psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, &url].map(str::to_owned).into();
        let output = self
            .root
            .command_as(self.account, None, &argv)
            .output()
            .map_err(Error::io("run psql with chroot"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        Err(self.process.control_error(&format!("psql failed: {}", message.trim())))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown also frees the shared memory. If the server does not end in time, it is
        // killed.
        if self.process.is_running() && self.resume().and_then(|()| self.stop_immediate()).is_err() {
            drop(self.kill());
        }
    }
}

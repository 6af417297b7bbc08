//! A private PgBouncer in front of a private PostgreSQL.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::data::DataFolder;
use crate::process::{Launch, Process, on_free_port};
use crate::root::Root;
use crate::{Error, Postgres, Progress};

const SERVER: &str = "PgBouncer";

/// The deadline for a start.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A private PgBouncer on a loopback port. It accepts every password. Dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    _folder: DataFolder,
    port: u16,
}

impl PgBouncer {
    /// Starts a PgBouncer in front of `postgres`. Creates its private root first if necessary. It logs in to
    /// PostgreSQL as `user`, with the user's name as the password. `settings` are lines of its section
    /// `[pgbouncer]`, such as `&["pool_mode = transaction"]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if PgBouncer does not become
    /// ready.
    pub fn private(postgres: &Postgres, user: &str, settings: &[&str]) -> Result<Self, Error> {
        Self::in_front_of(postgres.port(), user, settings)
    }

    /// Like [`PgBouncer::private`], in front of whatever listens at `server_port`, for example a
    /// [`Proxy`](crate::Proxy).
    ///
    /// # Errors
    ///
    /// As [`PgBouncer::private`].
    pub fn in_front_of(server_port: u16, user: &str, settings: &[&str]) -> Result<Self, Error> {
        let root = Root::with_pooler(&Progress::stderr())?;
        let account = root.account("nobody")?;
        let folder = DataFolder::create(&root, account)?;
        let launch = |port| {
            let file = format!(
                "[databases]\nfleet = host=127.0.0.1 port={server_port} dbname=fleet user={user} password={user}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n{}\n",
                settings.join("\n"),
            );
            folder.write(account, "pgbouncer.ini", &file)?;
            let argv = ["/usr/sbin/pgbouncer".to_owned(), format!("{}/pgbouncer.ini", folder.data_inside())];
            let log = folder.log();
            Process::launch(Launch {
                server: SERVER,
                root: &root,
                account,
                parent_death_signal: "KILL",
                argv: &argv,
                log,
            })
        };
        let (process, port) = on_free_port(launch, |process, port| {
            process
                .wait_until(READY_WITHIN, |_process| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        })?;
        Ok(Self { process, _folder: folder, port })
    }

    /// `postgres://fleet:fleet@127.0.0.1:<port>/fleet`. PgBouncer ignores the login in it and uses its own.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://fleet:fleet@127.0.0.1:{}/fleet", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Nobody can handle an error here. The kernel kills the server when this process ends.
        drop(self.process.kill());
    }
}

//! A private PostgreSQL with TimescaleDB.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::data::DataFolder;
use crate::logins::{admin_url, roles_sql};
use crate::process::{Launch, Process, holds_within, on_free_port, send};
use crate::root::{Account, POSTGRES_BIN, Root};
use crate::{DatabaseLogin, Error, Progress, ServerCertificate, proc};

const SERVER: &str = "PostgreSQL";

/// The user, the password and the database, as in docker-compose.yml.
const FLEET: &str = "fleet";

/// Long enough for crash recovery under load.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// The deadline for an immediate shutdown, and for the end of killed backends.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The settings other than port and data folder. If a setting is given twice, the later `-c` wins.
/// `docker-compose.yml` sets none, because its image tunes the server to the machine's memory when the volume
/// is created. That would be too much for a server beside many others, and many tests share one server's
/// connections.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_preload_libraries=timescaledb",
    "timescaledb.telemetry_level=off",
    "max_connections=200",
    "fsync=on",
    "synchronous_commit=on",
    // The root has no tmpfs at /dev/shm.
    "dynamic_shared_memory_type=mmap",
    "autovacuum=on",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "log_line_prefix=%m [%p] ",
];

/// The options of a private PostgreSQL.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Settings such as `max_connections=20`.
    pub extra: Vec<String>,
    /// Sets `ssl=on`. Connections without TLS are accepted too.
    pub tls: Option<ServerCertificate>,
    /// Omits the roles, the logins and the extension, as on an unprepared server.
    pub without_logins: bool,
}

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

/// Writes the certificate into the data folder.
fn show(folder: &DataFolder, account: Account, certificate: &ServerCertificate) -> Result<(), Error> {
    folder.write(account, "cluster/server.crt", &certificate.certificate)?;
    folder.write(account, "cluster/server.key", &certificate.key)
}

/// Creates the database cluster.
fn init(root: &Root, account: Account, folder: &DataFolder) -> Result<(), Error> {
    let password = folder.data_host().join("password");
    fs::write(&password, FLEET)
        .and_then(|()| chown(&password, Some(account.uid), Some(account.gid)))
        .map_err(Error::io(format!("write {}", password.display())))?;
    let data = folder.data_inside();
    let argv = [
        format!("{POSTGRES_BIN}/initdb"),
        format!("--pgdata={data}/cluster"),
        format!("--pwfile={data}/password"),
        format!("--username={FLEET}"),
        "--encoding=UTF8".to_owned(),
        "--locale=C".to_owned(),
        "--auth=scram-sha-256".to_owned(),
        // The server syncs its own writes. A cluster that is lost before its first start is simply created
        // again.
        "--no-sync".to_owned(),
    ];
    let output = root
        .command_as(account, None, &argv)
        .stdout(Stdio::null())
        .output()
        .map_err(Error::io("run initdb with chroot"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Start {
        server: SERVER,
        reason: format!("initdb failed ({})", output.status),
        log_tail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        root: root.path().display().to_string(),
    })
}

fn launch(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    port: u16,
    options: &PostgresOptions,
) -> Result<Process, Error> {
    let mut argv = vec![
        format!("{POSTGRES_BIN}/postgres"),
        "-D".to_owned(),
        format!("{}/cluster", folder.data_inside()),
        "-p".to_owned(),
        port.to_string(),
    ];
    // The paths are relative to the data folder.
    let tls = options.tls.as_ref().map(|_shown| "ssl=on");
    let extra = options.extra.iter().map(String::as_str);
    for setting in SETTINGS.iter().copied().chain(tls).chain(extra) {
        argv.extend(["-c".to_owned(), setting.to_owned()]);
    }
    let log = folder.log();
    // SIGQUIT instead of SIGKILL: an immediate shutdown also ends the backends and frees the shared memory.
    Process::launch(Launch { server: SERVER, root, account, parent_death_signal: "QUIT", argv: &argv, log })
}

/// Waits for the status `ready` in the pid file, like `pg_ctl --wait`. The pid distinguishes this server's
/// file from one that a killed server left.
fn wait_ready(process: &mut Process, folder: &DataFolder) -> Result<(), Error> {
    let file = folder.data_host().join("cluster/postmaster.pid");
    process.wait_until(READY_WITHIN, |process| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines();
        lines.next() == Some(process.pid().to_string().as_str())
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    })
}

//! The data folder of a private PostgreSQL, and its process.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Stdio;
use std::time::Duration;

use super::options::PostgresOptions;
use crate::data::DataFolder;
use crate::process::{Launch, Process};
use crate::root::{Account, POSTGRES_BIN, Root};
use crate::{Error, ServerCertificate};

const SERVER: &str = "PostgreSQL";

/// The user, the password and the database, as in docker-compose.yml.
pub(super) const FLEET: &str = "fleet";

/// Long enough for crash recovery under load.
const READY_WITHIN: Duration = Duration::from_mins(2);

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
    // A standby that was away for a while finds the log that it missed.
    "wal_keep_size=256MB",
    "log_line_prefix=%m [%p] ",
];

/// Writes the certificate into the data folder.
pub(super) fn show(
    folder: &DataFolder,
    account: Account,
    certificate: &ServerCertificate,
) -> Result<(), Error> {
    folder.write(account, "cluster/server.crt", &certificate.certificate)?;
    folder.write(account, "cluster/server.key", &certificate.key)
}

/// Creates the database cluster.
pub(super) fn init(root: &Root, account: Account, folder: &DataFolder) -> Result<(), Error> {
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
    run(root, account, "initdb", &argv)
}

/// Copies the cluster of the running server at `url`, and configures the copy as its standby.
pub(super) fn copy(root: &Root, account: Account, folder: &DataFolder, url: &str) -> Result<(), Error> {
    let argv = [
        format!("{POSTGRES_BIN}/pg_basebackup"),
        format!("--pgdata={}/cluster", folder.data_inside()),
        format!("--dbname={url}"),
        "--write-recovery-conf".to_owned(),
        "--wal-method=stream".to_owned(),
        // Otherwise the copy waits for the next regular checkpoint, which can take minutes.
        "--checkpoint=fast".to_owned(),
        "--no-sync".to_owned(),
    ];
    run(root, account, "pg_basebackup", &argv)
}

/// Runs one of PostgreSQL's programs until its end.
fn run(root: &Root, account: Account, program: &str, argv: &[String]) -> Result<(), Error> {
    let output = root
        .command_as(account, None, argv)
        .stdout(Stdio::null())
        .output()
        .map_err(Error::io(format!("run {program} with chroot")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Start {
        server: SERVER,
        reason: format!("{program} failed ({})", output.status),
        log_tail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        root: root.path().display().to_string(),
    })
}

pub(super) fn launch(
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

/// Waits for the status `ready`, or `standby`, in the pid file, like `pg_ctl --wait`. The pid distinguishes this
/// server's file from one that a killed server left.
pub(super) fn wait_ready(process: &mut Process, folder: &DataFolder) -> Result<(), Error> {
    let file = folder.data_host().join("cluster/postmaster.pid");
    process.wait_until(READY_WITHIN, |process| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines();
        lines.next() == Some(process.pid().to_string().as_str())
            && lines.nth(6).is_some_and(|state| ["ready", "standby"].contains(&state.trim()))
    })
}

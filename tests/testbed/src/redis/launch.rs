//! The files and the command line of a private Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::options::{RedisOptions, RedisServer};
use crate::data::DataFolder;
use crate::logins::{redis_users_for_tests, with_replication_users};
use crate::process::{Launch, Process};
use crate::root::{Account, Root};
use crate::{Error, ServerCertificate};

/// The server's settings as in `docker-compose.yml`, except for the ACL file, which has another path.
pub const REDIS_ARGUMENTS: [&str; 10] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
    "--maxmemory",
    "1gb",
    "--maxmemory-policy",
    "noeviction",
];

/// The login of a replica at its primary, in `compose/replication.acl`. A primary needs it too, because it may
/// become a replica.
const REPLICA: [&str; 4] = ["--masteruser", "replica", "--masterauth", "local-use-only-replica"];

/// A replica gets its first copy at once. By default the primary waits 5 s for further replicas.
const COPY_AT_ONCE: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

/// Long enough to load a large append-only file.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Files in the data folder, which is the server's working folder.
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const CA: &str = "ca.crt";
const ACL: &str = "users.acl";
/// Sentinels have a server write its role into this file.
const CONFIGURATION: &str = "redis.conf";

/// Writes the files that the server reads at its first start.
pub(super) fn write_files(
    folder: &DataFolder,
    account: Account,
    options: &RedisOptions,
) -> Result<(), Error> {
    write_acl(folder, account, options.server, &options.acl.clone().unwrap_or_else(redis_users_for_tests))?;
    if let Some(certificate) = &options.tls {
        write_certificate(folder, account, certificate)?;
    }
    if let Some(ca) = &options.tls_ca {
        folder.write(account, CA, ca)?;
    }
    let role = options.replica_of.map_or_else(String::new, |port| format!("replicaof 127.0.0.1 {port}\n"));
    folder.write(account, CONFIGURATION, &role)
}

/// Writes the ACL file.
pub(super) fn write_acl(
    folder: &DataFolder,
    account: Account,
    server: RedisServer,
    acl: &str,
) -> Result<(), Error> {
    folder.write(account, ACL, &server.known_acl(with_replication_users(acl)))
}

/// Writes the certificate into the data folder.
pub(crate) fn write_certificate(
    folder: &DataFolder,
    account: Account,
    certificate: &ServerCertificate,
) -> Result<(), Error> {
    folder.write(account, CERTIFICATE, &certificate.certificate)?;
    folder.write(account, KEY, &certificate.key)
}

/// Starts the server.
pub(super) fn launch(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    port: u16,
    options: &RedisOptions,
) -> Result<Process, Error> {
    let data = folder.data_inside();
    let mut argv = vec![options.server.program().to_owned(), format!("{data}/{CONFIGURATION}")];
    argv.extend(owned(&["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", &data]));
    argv.extend(owned(&["--daemonize", "no", "--aclfile", ACL]));
    argv.extend(owned(&REDIS_ARGUMENTS));
    argv.extend(owned(&[&REPLICA[..], &COPY_AT_ONCE].concat()));
    let announced = options.announced_port.unwrap_or(port).to_string();
    argv.extend(owned(&["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &announced]));
    if let Some(source) = options.source {
        argv.extend(["--bind-source-addr".to_owned(), source.to_string()]);
    }
    if options.tls.is_some() {
        argv.extend(tls_arguments(port, options));
    }
    argv.extend(options.extra.iter().cloned());
    let log = folder.log();
    let server = options.server.name();
    Process::launch(Launch { server, root, account, parent_death_signal: "KILL", argv: &argv, log })
}

fn tls_arguments(port: u16, options: &RedisOptions) -> Vec<String> {
    let port = port.to_string();
    let mut argv = owned(&["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
    argv.extend(owned(&["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY]));
    // The server requires a CA to start with TLS. Without client certificates it verifies only other servers
    // with it.
    let ca = if options.tls_ca.is_some() { CA } else { CERTIFICATE };
    argv.extend(owned(&["--tls-ca-cert-file", ca]));
    if options.tls_ca.is_some() {
        argv.extend(owned(&["--tls-replication", "yes", "--tls-cluster", "yes"]));
    }
    argv
}

/// Waits until the server accepts connections.
pub(super) fn wait_ready(process: &mut Process, port: u16, tls: bool) -> Result<(), Error> {
    // The log comes from this process. A PING alone might be answered by another process that took the port.
    process.wait_until(READY_WITHIN, |process| {
        process.log().contains("Ready to accept connections") && (tls || answers(port))
    })
}

/// Whether PING gets a login error, or PONG if a test's ACL file allows it.
fn answers(port: u16) -> bool {
    let timeout = Duration::from_secs(1);
    let mut reply = [0_u8; 7];
    let asked = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout).and_then(
        |mut stream| {
            stream.set_read_timeout(Some(timeout))?;
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut reply)
        },
    );
    asked.is_ok() && (&reply == b"+PONG\r\n" || &reply == b"-NOAUTH")
}

/// The arguments as strings of their own.
pub(crate) fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

//! A private Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::data::DataFolder;
use crate::logins::{admin_url, redis_users, redis_users_for_tests};
use crate::process::{Launch, Process, on_free_port};
use crate::root::{Account, Root};
use crate::{Error, Progress, ServerCertificate};

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

/// Long enough to load a large append-only file.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Files in the data folder, which is the server's working folder.
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const ACL: &str = "users.acl";

/// The server program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RedisServer {
    /// Redis. The demo and the benchmark use it.
    #[default]
    Redis,
    /// Valkey, from its own root, which is created on first use (12 s, 140 MB).
    Valkey,
    /// Redis 7.0, the oldest supported one, from its own root, which is created on first use (12 s, 140 MB).
    Redis7,
}

/// The variable with the name of the server that tests start: a name of [`RedisServer::from_name`].
pub const REDIS_SERVER_VARIABLE: &str = "FLEET_TEST_REDIS_SERVER";

impl RedisServer {
    /// Every server.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Valkey, Self::Redis7];

    /// The server with this name: `redis`, `valkey` or `redis7`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.short_name() == name)
    }

    /// The name in commands and variables.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Redis7 => "redis7",
        }
    }

    /// The server that the environment names in [`REDIS_SERVER_VARIABLE`]. Redis if it names none.
    #[must_use]
    pub fn from_environment() -> Self {
        let name = std::env::var(REDIS_SERVER_VARIABLE).unwrap_or_default();
        Self::from_name(&name).unwrap_or_default()
    }

    /// The name in errors.
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
            Self::Redis7 => "Redis 7.0",
        }
    }

    /// The user that it runs as.
    fn user(self) -> &'static str {
        match self {
            Self::Redis | Self::Redis7 => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// The users that this server can load: Redis 7.0 does not know WAITAOF, and refuses a file that names it.
    fn users(self, acl: &str) -> String {
        match self {
            Self::Redis | Self::Valkey => acl.to_owned(),
            Self::Redis7 => acl.replace(" +waitaof", ""),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Redis | Self::Redis7 => "/usr/bin/redis-server",
            Self::Valkey => "/usr/bin/valkey-server",
        }
    }

    fn root(self) -> Result<Root, Error> {
        match self {
            Self::Redis => Root::ensure(&Progress::stderr()),
            Self::Valkey => Root::valkey(&Progress::stderr()),
            Self::Redis7 => Root::redis_7(&Progress::stderr()),
        }
    }
}

/// The options of a private Redis.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// The program.
    pub server: RedisServer,
    /// Arguments appended to the command line. They override [`REDIS_ARGUMENTS`].
    pub extra: Vec<String>,
    /// Enables TLS on the port, which then accepts no other connections.
    pub tls: Option<ServerCertificate>,
    /// The content of the ACL file. The default is [`redis_users_for_tests`].
    pub acl: Option<String>,
}

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

    pub(crate) fn start_with(root: &Root, options: RedisOptions) -> Result<Self, Error> {
        let account = root.account(options.server.user())?;
        let folder = DataFolder::create(root, account)?;
        let users = options.acl.clone().unwrap_or_else(redis_users_for_tests);
        folder.write(account, ACL, &options.server.users(&users))?;
        if let Some(certificate) = &options.tls {
            show(&folder, account, certificate)?;
        }
        let tls = options.tls.is_some();
        let (process, port) = on_free_port(
            |port| launch(root, account, &folder, port, &options),
            |process, port| wait_ready(process, port, tls),
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
        show(&self.folder, self.account, certificate)
    }

    /// Replaces the ACL file. The next [`Redis::restart`] uses it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn set_acl(&self, acl: &str) -> Result<(), Error> {
        self.folder.write(self.account, ACL, &self.options.server.users(acl))
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
        self.process = launch(&self.root, self.account, &self.folder, self.port, &self.options)?;
        wait_ready(&mut self.process, self.port, self.options.tls.is_some())
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

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn launch(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    port: u16,
    options: &RedisOptions,
) -> Result<Process, Error> {
    let (port, data) = (port.to_string(), folder.data_inside());
    let own = [
        options.server.program(),
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--dir",
        &data,
        "--daemonize",
        "no",
        "--aclfile",
        ACL,
    ];
    let mut argv = owned(&[&own[..], &REDIS_ARGUMENTS].concat());
    if options.tls.is_some() {
        let tls = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
        argv.extend(tls.map(str::to_owned));
        argv.extend(["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY].map(str::to_owned));
        // The server requires a CA to start with TLS. Without client certificates it verifies nothing with
        // it.
        argv.extend(["--tls-ca-cert-file", CERTIFICATE].map(str::to_owned));
    }
    argv.extend(options.extra.iter().cloned());
    let log = folder.log();
    let server = options.server.name();
    Process::launch(Launch { server, root, account, parent_death_signal: "KILL", argv: &argv, log })
}

/// Writes the certificate into the data folder.
fn show(folder: &DataFolder, account: Account, certificate: &ServerCertificate) -> Result<(), Error> {
    folder.write(account, CERTIFICATE, &certificate.certificate)?;
    folder.write(account, KEY, &certificate.key)
}

fn wait_ready(process: &mut Process, port: u16, tls: bool) -> Result<(), Error> {
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

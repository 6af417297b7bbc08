//! How to start a private Redis.

use std::net::Ipv4Addr;

use crate::root::Root;
use crate::{Error, Progress, ServerCertificate};

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

    /// The content of an ACL file that this server can load: Redis 7.0 refuses a file with a command that it does not know.
    pub(crate) fn known_acl(self, acl: String) -> String {
        match self {
            Self::Redis | Self::Valkey => acl,
            Self::Redis7 => acl.replace(" +waitaof", ""),
        }
    }

    /// The name in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
            Self::Redis7 => "Redis 7.0",
        }
    }

    /// The user that it runs as.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Redis | Self::Redis7 => "redis",
            Self::Valkey => "valkey",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Redis | Self::Redis7 => "/usr/bin/redis-server",
            Self::Valkey => "/usr/bin/valkey-server",
        }
    }

    /// The command-line client.
    pub(super) fn client(self) -> &'static str {
        match self {
            Self::Redis | Self::Redis7 => "/usr/bin/redis-cli",
            Self::Valkey => "/usr/bin/valkey-cli",
        }
    }

    pub(crate) fn root(self) -> Result<Root, Error> {
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
    /// Arguments appended to the command line. They override [`REDIS_ARGUMENTS`](crate::REDIS_ARGUMENTS).
    pub extra: Vec<String>,
    /// Enables TLS on the port, which then accepts no other connections.
    pub tls: Option<ServerCertificate>,
    /// The CA of the servers' certificates, in PEM. With it, replication and the cluster bus use TLS too.
    pub tls_ca: Option<String>,
    /// The content of the ACL file. The default is [`redis_users_for_tests`](crate::redis_users_for_tests).
    /// The users of `compose/replication.acl` are added if they are missing.
    pub acl: Option<String>,
    /// The loopback port of the primary, of which this server is a replica from its start. A failover changes
    /// that; a restart then keeps the new role.
    pub replica_of: Option<u16>,
    /// The port that other servers and clients are told to use, such as that of a
    /// [`Proxy`](crate::Proxy). The default is the server's own port.
    pub announced_port: Option<u16>,
    /// The loopback address from which the server connects to other servers. With addresses of their own, a
    /// [`Proxy`](crate::Proxy) can tell servers from clients. The default is `127.0.0.1`.
    pub source: Option<Ipv4Addr>,
}

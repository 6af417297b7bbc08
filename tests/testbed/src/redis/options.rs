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
}

impl RedisServer {
    /// The name in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        }
    }

    /// The user that it runs as.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Redis => "/usr/bin/redis-server",
            Self::Valkey => "/usr/bin/valkey-server",
        }
    }

    /// The command-line client.
    pub(super) fn client(self) -> &'static str {
        match self {
            Self::Redis => "/usr/bin/redis-cli",
            Self::Valkey => "/usr/bin/valkey-cli",
        }
    }

    pub(crate) fn root(self) -> Result<Root, Error> {
        match self {
            Self::Redis => Root::ensure(&Progress::stderr()),
            Self::Valkey => Root::valkey(&Progress::stderr()),
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

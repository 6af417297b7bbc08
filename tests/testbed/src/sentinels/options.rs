//! How to start private Sentinels.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::ServerCertificate;
use crate::redis::RedisServer;

/// The name under which the Sentinels monitor the primary.
pub const SENTINEL_NAME: &str = "fleet";

/// The options of private Sentinels. The durations are much shorter than usual in production.
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    /// The program.
    pub server: RedisServer,
    /// After this time without a valid response a Sentinel considers a server down.
    pub down_after: Duration,
    /// Half of the pause between two failovers that were attempted, and the deadline for a failover's steps.
    pub failover_timeout: Duration,
    /// The content of the Sentinels' own ACL file. The Sentinels log in to each other as `fleet`, with the
    /// administrator's password. By default there is none, and everybody may use the Sentinels.
    pub acl: Option<String>,
    /// Enables TLS on the Sentinels' ports, which then accept no other connections.
    pub tls: Option<ServerCertificate>,
    /// The CA of all certificates, in PEM. With it, the Sentinels use TLS to the servers and to each other.
    pub tls_ca: Option<String>,
    /// The loopback address from which the Sentinels connect to the servers. The default is `127.0.0.1`.
    pub source: Option<Ipv4Addr>,
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self {
            server: RedisServer::default(),
            down_after: Duration::from_millis(600),
            failover_timeout: Duration::from_secs(3),
            acl: None,
            tls: None,
            tls_ca: None,
            source: None,
        }
    }
}

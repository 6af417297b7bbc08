//! How to start a private Redis Cluster.

use std::time::Duration;

use crate::ServerCertificate;
use crate::redis::RedisServer;

/// The options of a private cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The program.
    pub server: RedisServer,
    /// The number of primaries. The slots are divided evenly.
    pub primaries: usize,
    /// The number of replicas, at most one for each primary.
    pub replicas: usize,
    /// After this time without a response a node considers another one down. Much shorter than usual in
    /// production.
    pub node_timeout: Duration,
    /// Arguments appended to the nodes' command lines.
    pub extra: Vec<String>,
    /// The content of the ACL file, as for [`RedisOptions::acl`](crate::RedisOptions::acl).
    pub acl: Option<String>,
    /// Enables TLS on the nodes' ports.
    pub tls: Option<ServerCertificate>,
    /// The CA, as for [`RedisOptions::tls_ca`](crate::RedisOptions::tls_ca).
    pub tls_ca: Option<String>,
    /// Puts proxies in front of the nodes' ports, for [`RedisCluster::isolate`](crate::RedisCluster::isolate) and
    /// [`ClusterNode::proxy`](crate::ClusterNode::proxy).
    pub proxied: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            server: RedisServer::default(),
            primaries: 3,
            replicas: 3,
            node_timeout: Duration::from_secs(1),
            extra: Vec::new(),
            acl: None,
            tls: None,
            tls_ca: None,
            proxied: false,
        }
    }
}

//! Finds the primary, and checks whether a server still is the primary.

mod cluster;
mod located;
mod replication;
mod sentinel;
mod single;

pub(crate) use self::located::{Located, Role, Verdict};

use redis::aio::MultiplexedConnection;

use std::time::Duration;

use self::cluster::Cluster;
use self::sentinel::Sentinels;
use self::single::Single;
use crate::dial::Dialer;
use crate::error::QueueError;
use crate::options::RedisLinkOptions;
use crate::topology::Topology;

/// How one link finds its primary.
pub(crate) enum Locator {
    Single(Single),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

impl Locator {
    /// Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] with all problems of the options, or [`QueueError::Trust`].
    pub(crate) fn new(options: &RedisLinkOptions) -> Result<Self, QueueError> {
        let hosts = options.hosts().map_err(|problems| QueueError::Url(problems.join("\n")))?;
        let Some(first) = hosts.first() else { return Err(QueueError::Url("no host".to_owned())) };
        let dialer = Dialer::new(first.clone(), options.ca_file())?;
        let servers = hosts.iter().map(|info| dialer.server_at(info.addr())).collect();
        Ok(match options.topology() {
            Topology::Single => Self::Single(Single::new(dialer, servers)),
            Topology::Sentinel => {
                let to_sentinels = dialer.with_login(options.sentinel_login());
                Self::Sentinel(Sentinels::new(options.sentinel_name(), &to_sentinels, servers, dialer))
            }
            Topology::Cluster => Self::Cluster(Cluster::new(dialer, servers, options.queue())),
        })
    }

    /// Connects to the primary. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; [`QueueError::NoPrimary`] if several servers were asked in vain.
    pub(crate) async fn locate(&self) -> Result<Located, QueueError> {
        match self {
            Self::Single(single) => single.locate().await,
            Self::Sentinel(sentinels) => sentinels.locate().await,
            Self::Cluster(cluster) => cluster.locate().await,
        }
    }

    /// Connects to a server of the same deployment, such as a replica, with the login of Redis.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<MultiplexedConnection, QueueError> {
        let dialer = match self {
            Self::Single(single) => single.dialer(),
            Self::Sentinel(sentinels) => sentinels.dialer(),
            Self::Cluster(cluster) => cluster.dialer(),
        };
        dialer.dial(&dialer.server(host, port)).await
    }

    /// Checks whether the server is still the primary. It uses the located connection, which must reply `within` this time,
    /// and others of its own.
    pub(crate) async fn check(&self, located: &Located, within: Duration) -> Verdict {
        match self {
            Self::Single(single) => single.check(located, within).await,
            Self::Sentinel(sentinels) => sentinels.check(located, within).await,
            Self::Cluster(cluster) => cluster.check(located, within).await,
        }
    }
}

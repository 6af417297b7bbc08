//! Finds the primary, and checks whether a server still is the primary.

mod cluster;
mod located;
mod replication;
mod sentinel;
mod single;

pub(crate) use self::located::{Located, Role, Verdict};

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
    /// [`QueueError::Url`] with all problems of the options.
    pub(crate) fn new(options: &RedisLinkOptions, dialer: &Dialer) -> Result<Self, QueueError> {
        let (hosts, dialer) =
            (options.hosts().map_err(|problems| QueueError::Url(problems.join("\n")))?, dialer.clone());
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

    /// Checks whether the server is still the primary. It uses the located connection, and others of its own. The caller
    /// bounds the time.
    pub(crate) async fn check(&self, located: &Located) -> Verdict {
        match self {
            Self::Single(single) => single.check(located).await,
            Self::Sentinel(sentinels) => sentinels.check(located).await,
            Self::Cluster(cluster) => cluster.check(located).await,
        }
    }
}

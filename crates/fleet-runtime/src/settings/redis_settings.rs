//! How the servers of Redis belong together, and what finding the primary needs.

use serde::{Deserialize, Serialize};

use super::secret::Password;

/// What the hosts of Redis' URL are.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// How the servers belong together.
    pub topology: RedisTopology,
    /// The name of the primary that the Sentinels monitor.
    pub sentinel_name: Option<String>,
    /// The user of the Sentinels themselves.
    pub sentinel_user: Option<String>,
    /// The password of the Sentinels themselves.
    pub sentinel_password: Option<Password>,
}

/// How the servers of Redis belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum RedisTopology {
    /// One primary; the URL's hosts are the candidates for it.
    #[default]
    Single,
    /// The URL's hosts are Sentinels.
    Sentinel,
    /// The URL's hosts are nodes of a Redis Cluster.
    Cluster,
}

impl TryFrom<String> for RedisTopology {
    type Error = &'static str;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        match given.as_str() {
            "single" => Ok(Self::Single),
            "sentinel" => Ok(Self::Sentinel),
            "cluster" => Ok(Self::Cluster),
            _ => Err("must be single, sentinel or cluster"),
        }
    }
}

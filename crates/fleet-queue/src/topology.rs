//! How the servers of Redis belong together.

/// How the servers of Redis belong together, and so how a link finds the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// The URL's hosts are the candidates for the primary.
    #[default]
    Single,
    /// The URL's hosts are Sentinels, which know the primary.
    Sentinel,
    /// The URL's hosts are nodes of a Redis Cluster, where each queue has its own primary.
    Cluster,
}

impl Topology {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }

    /// The port of a host without one.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Single | Self::Cluster => 6379,
            Self::Sentinel => 26379,
        }
    }
}

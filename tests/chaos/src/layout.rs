//! Which servers a run uses.

/// The stage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum StageName {
    /// One Redis behind one address, and one or two databases.
    Single,
    /// As `single`, and INVERS publishes to a RabbitMQ that the bridge consumes.
    Amqp,
    /// A Redis with a replica under three Sentinels, and a PostgreSQL with a synchronous standby.
    Failover,
    /// A Redis Cluster of three primaries and three replicas, and a PostgreSQL with a synchronous standby.
    Cluster,
}

/// Where vehicle state and telemetry are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Databases {
    /// In one database, as shipped.
    One,
    /// On two servers, one of which may be unavailable alone.
    Two,
}

/// The servers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) stage: StageName,
    pub(super) databases: Databases,
}

impl Layout {
    /// Whether machines may be lost, because each has a replica.
    pub(super) fn has_replicas(self) -> bool {
        match self.stage {
            StageName::Single | StageName::Amqp => false,
            StageName::Failover | StageName::Cluster => true,
        }
    }

    /// The options that repeat a run with these servers, each with a blank before it.
    pub(super) fn options(self) -> String {
        let stage = match self.stage {
            StageName::Single => "",
            StageName::Amqp => " --stage amqp",
            StageName::Failover => " --stage failover",
            StageName::Cluster => " --stage cluster",
        };
        let databases = match self.databases {
            Databases::One => "",
            Databases::Two => " --databases two",
        };
        format!("{stage}{databases}")
    }
}

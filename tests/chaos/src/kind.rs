//! The kinds of faults.

use crate::layout::{Databases, Layout, StageName};

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    KillApi,
    KillConsumer,
    KillQuery,
    KillRedis,
    StopPostgres,
    FreezeConsumer,
    FreezeConsumers,
    FreezeRedis,
    RollConsumer,
    CutConnections,
    BlackHole,
    FillRedis,
    ReadOnlyPostgres,
    WrongPassword,
    CloseConnections,
    FailOver,
    UnwritableLogs,
    DatabaseAway,
    LoseRedis,
    LoseCutOffRedis,
    LosePostgres,
    IsolateRedis,
    LoseReplica,
    KillBridge,
    KillRabbitMq,
    CutBroker,
    BlackHoleBroker,
}

/// A resource that only one fault at a time may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Redis,
    Postgres,
    Consumers,
    /// RabbitMQ, the bridge, and the connections between them.
    Broker,
}

impl Kind {
    /// The kinds of faults that are injected into these servers, except for [`Kind::losses`].
    pub(super) fn usual(layout: Layout) -> Vec<Self> {
        let more: &[Self] = match (layout.stage, layout.databases) {
            (StageName::Single, Databases::One) => &[],
            (StageName::Single, Databases::Two) => &[Self::DatabaseAway],
            (StageName::Amqp, _) => {
                &[Self::KillBridge, Self::KillRabbitMq, Self::CutBroker, Self::BlackHoleBroker]
            }
            (StageName::Failover | StageName::Cluster, _) => &[Self::IsolateRedis, Self::LoseReplica],
        };
        [&Self::ALWAYS[..], more].concat()
    }

    /// The losses of machines with their disks, which are injected at regular intervals.
    pub(super) fn losses(layout: Layout) -> &'static [Self] {
        match layout.stage {
            StageName::Single | StageName::Amqp => &[],
            StageName::Failover | StageName::Cluster => {
                &[Self::LoseCutOffRedis, Self::LosePostgres, Self::LoseRedis, Self::LosePostgres]
            }
        }
    }

    const ALWAYS: [Self; 17] = [
        Self::KillApi,
        Self::KillConsumer,
        Self::KillQuery,
        Self::KillRedis,
        Self::StopPostgres,
        Self::FreezeConsumer,
        Self::FreezeConsumers,
        Self::FreezeRedis,
        Self::RollConsumer,
        Self::CutConnections,
        Self::BlackHole,
        Self::FillRedis,
        Self::ReadOnlyPostgres,
        Self::WrongPassword,
        Self::CloseConnections,
        Self::FailOver,
        Self::UnwritableLogs,
    ];

    /// Whether a machine is lost with its disk.
    pub(super) fn is_loss(self) -> bool {
        matches!(self, Self::LoseRedis | Self::LoseCutOffRedis | Self::LosePostgres)
    }

    /// The name in the printed table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::KillApi => "kill -9 of the API",
            Self::KillConsumer => "kill -9 of a consumer",
            Self::KillQuery => "kill -9 of the query service",
            Self::KillRedis => "kill -9 of Redis",
            Self::StopPostgres => "immediate stop of PostgreSQL",
            Self::FreezeConsumer => "consumer frozen past its lease",
            Self::FreezeConsumers => "all consumers frozen: a backlog",
            Self::FreezeRedis => "Redis frozen",
            Self::RollConsumer => "rolling restart of a consumer",
            Self::CutConnections => "all connections cut",
            Self::BlackHole => "connections to a server swallow everything",
            Self::FillRedis => "Redis at maxmemory",
            Self::ReadOnlyPostgres => "PostgreSQL read-only",
            Self::WrongPassword => "PostgreSQL password changed, put right later",
            Self::CloseConnections => "every connection closed by Redis",
            Self::FailOver => "failover of Redis, planned",
            Self::UnwritableLogs => "API and a consumer whose logs take nothing",
            Self::DatabaseAway => "one of two databases away",
            Self::LoseRedis => "Redis primary lost with its disk",
            Self::LoseCutOffRedis => "Redis primary lost after its replica was cut off",
            Self::LosePostgres => "PostgreSQL primary lost with its disk",
            Self::IsolateRedis => "Redis primary isolated, but not from clients",
            Self::LoseReplica => "Redis replica lost with its disk",
            Self::KillBridge => "kill -9 of the bridge",
            Self::KillRabbitMq => "kill -9 of RabbitMQ",
            Self::CutBroker => "connections to RabbitMQ cut",
            Self::BlackHoleBroker => "connections to RabbitMQ swallow everything",
        }
    }

    /// The shortest and the longest duration, ms. A killed process is replaced at once.
    pub(super) fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::KillApi
            | Self::KillConsumer
            | Self::KillQuery
            | Self::KillRedis
            | Self::RollConsumer
            | Self::CutConnections
            | Self::CloseConnections
            | Self::FailOver
            | Self::LoseRedis
            | Self::LosePostgres
            | Self::KillBridge
            | Self::KillRabbitMq
            | Self::CutBroker => (0, 0),
            Self::StopPostgres | Self::ReadOnlyPostgres | Self::WrongPassword => (300, 1_500),
            // Longer than the lease of 2 s.
            Self::FreezeConsumer | Self::DatabaseAway => (2_500, 4_000),
            Self::UnwritableLogs => (800, 1_500),
            Self::FreezeConsumers => (1_000, 1_800),
            Self::FreezeRedis | Self::FillRedis => (300, 1_000),
            // Around the timeouts: 1 s for a call to Redis, 3 s for a statement.
            Self::BlackHole => (500, 4_000),
            // Long enough for pushes that the replica does not get.
            Self::LoseCutOffRedis => (400, 900),
            // Around the time in which a failover begins.
            Self::IsolateRedis => (500, 4_000),
            Self::LoseReplica => (300, 1_500),
            // Around the bridge's timeout of 3 s, and two heartbeats of 2 s.
            Self::BlackHoleBroker => (500, 5_500),
        }
    }

    /// The resource that the fault uses until it ends.
    pub(super) fn holds(self, target: usize, layout: Layout) -> Option<Held> {
        match self {
            Self::KillRedis
            | Self::FreezeRedis
            | Self::FillRedis
            | Self::FailOver
            | Self::CloseConnections
            | Self::LoseRedis
            | Self::LoseCutOffRedis
            | Self::IsolateRedis
            | Self::LoseReplica => Some(Held::Redis),
            Self::StopPostgres
            | Self::ReadOnlyPostgres
            | Self::WrongPassword
            | Self::DatabaseAway
            | Self::LosePostgres => Some(Held::Postgres),
            Self::FreezeConsumer | Self::FreezeConsumers | Self::RollConsumer | Self::UnwritableLogs => {
                Some(Held::Consumers)
            }
            Self::KillBridge | Self::KillRabbitMq | Self::CutBroker | Self::BlackHoleBroker => {
                Some(Held::Broker)
            }
            // With replicas it may cause a failover, which the next fault must not disturb.
            Self::BlackHole if layout.has_replicas() => {
                Some(if target == 0 { Held::Redis } else { Held::Postgres })
            }
            Self::CutConnections if layout.has_replicas() => Some(Held::Redis),
            Self::KillApi | Self::KillConsumer | Self::KillQuery | Self::CutConnections | Self::BlackHole => {
                None
            }
        }
    }

    /// Whether Redis cannot accept webhooks while this fault hits `target`. During all other faults Redis is
    /// available, and no webhook may get a 503. With replicas, an outage lasts until a replica confirms again.
    pub(super) fn takes_redis_away(self, target: usize, layout: Layout) -> bool {
        match self {
            Self::KillRedis
            | Self::FreezeRedis
            | Self::FillRedis
            | Self::LoseRedis
            | Self::LoseCutOffRedis
            | Self::IsolateRedis
            | Self::LoseReplica => true,
            Self::BlackHole => target == 0,
            Self::CutConnections | Self::FailOver | Self::CloseConnections => layout.has_replicas(),
            Self::KillApi
            | Self::KillConsumer
            | Self::KillQuery
            | Self::StopPostgres
            | Self::FreezeConsumer
            | Self::FreezeConsumers
            | Self::RollConsumer
            | Self::ReadOnlyPostgres
            | Self::WrongPassword
            | Self::UnwritableLogs
            | Self::DatabaseAway
            | Self::LosePostgres
            | Self::KillBridge
            | Self::KillRabbitMq
            | Self::CutBroker
            | Self::BlackHoleBroker => false,
        }
    }
}

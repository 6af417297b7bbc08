//! The cases to measure.

mod amqp;
mod attack;
mod bomb;
mod drain;
mod freshness;
mod idle;
mod ingest;
mod ingest_always;
mod ingest_replicated;
mod query;
mod replay;
mod setup;
mod sizing;

use clap::ValueEnum;

pub(crate) use self::setup::Setup;
use crate::failure::Failure;
use crate::figures::Report;
use crate::stage::Stage;

/// A case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// CPU time and latency for each webhook, compared with a bare handler and one LPUSH for each request.
    Ingest,
    /// Throughput when every push is on disk before its response.
    IngestAlways,
    /// Throughput when a replica, too, has every push on disk before its response.
    IngestReplicated,
    /// One consumer that drains a queue, compared with one connection that only inserts.
    Drain,
    /// Two consumers compared with one.
    DrainTwo,
    /// A bomb at full speed while two other providers continue.
    Bomb,
    /// A million webhooks an hour.
    Idle,
    /// The time from a 200 until the report is visible in SQL.
    Freshness,
    /// Connections that send little or nothing, with the manifests' memory limits.
    SlowClients,
    /// Requests with a wrong signature.
    Refused,
    /// Messages with as many events as they may have.
    TinyEvents,
    /// Stored events that are parsed again: few and many.
    Replay,
    /// INVERS' events from a queue of RabbitMQ through the bridge, compared with a bare AMQP consumer.
    Amqp,
    /// The query service, compared with a query of PostgreSQL for each request.
    Query,
    /// Bytes of disk and memory for each message, event and vehicle.
    Sizing,
}

impl Case {
    /// The name on the command line and of the JSON file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::IngestAlways => "ingest-always",
            Self::IngestReplicated => "ingest-replicated",
            Self::Drain => "drain",
            Self::DrainTwo => "drain-two",
            Self::Bomb => "bomb",
            Self::Idle => "idle",
            Self::Freshness => "freshness",
            Self::SlowClients => "slow-clients",
            Self::Refused => "refused",
            Self::TinyEvents => "tiny-events",
            Self::Replay => "replay",
            Self::Amqp => "amqp",
            Self::Query => "query",
            Self::Sizing => "sizing",
        }
    }

    fn fills_the_database(self) -> bool {
        match self {
            Self::Drain
            | Self::DrainTwo
            | Self::Bomb
            | Self::Idle
            | Self::Freshness
            | Self::Replay
            | Self::Amqp
            | Self::Query
            | Self::Sizing => true,
            Self::Ingest
            | Self::IngestAlways
            | Self::IngestReplicated
            | Self::SlowClients
            | Self::Refused
            | Self::TinyEvents => false,
        }
    }

    /// Measures the case on its own stage. Returns the stage for further queries.
    pub(crate) fn run(self, setup: &Setup) -> Result<(Report, Stage), Failure> {
        // A rewrite of the append-only file would affect some rounds only, so it is off, except where a whole
        // system is measured.
        let steady: &[&str] = &["--auto-aof-rewrite-percentage", "0"];
        let redis = match self {
            Self::Bomb
            | Self::Idle
            | Self::Freshness
            | Self::SlowClients
            | Self::Refused
            | Self::TinyEvents
            | Self::Query => &[],
            Self::Ingest
            | Self::IngestAlways
            | Self::IngestReplicated
            | Self::Drain
            | Self::DrainTwo
            | Self::Replay
            | Self::Amqp
            | Self::Sizing => steady,
        };
        let mut stage = Stage::set(&setup.bin_dir, redis, setup.shards, &setup.interrupt)?;
        if !setup.quick && self.fills_the_database() {
            stage.age()?;
        }
        stage.clear()?;
        let mut report = Report::new(self.name(), setup.quick);
        match self {
            Self::Ingest => ingest::run(setup, &mut stage, &mut report),
            Self::IngestAlways => ingest_always::run(setup, &mut stage, &mut report),
            Self::IngestReplicated => ingest_replicated::run(setup, &mut stage, &mut report),
            Self::Drain => drain::run(setup, &mut stage, &mut report),
            Self::DrainTwo => drain::run_two(setup, &mut stage, &mut report),
            Self::Bomb => bomb::run(setup, &mut stage, &mut report),
            Self::Idle => idle::run(setup, &mut stage, &mut report),
            Self::Freshness => freshness::run(setup, &mut stage, &mut report),
            Self::SlowClients => attack::run_slow_clients(setup, &mut stage, &mut report),
            Self::Refused => attack::run_refused(setup, &mut stage, &mut report),
            Self::TinyEvents => attack::run_tiny_events(setup, &mut stage, &mut report),
            Self::Replay => replay::run(setup, &mut stage, &mut report),
            Self::Amqp => amqp::run(setup, &mut stage, &mut report),
            Self::Query => query::run(setup, &mut stage, &mut report),
            Self::Sizing => sizing::run(setup, &mut stage, &mut report),
        }?;
        Ok((report, stage))
    }
}

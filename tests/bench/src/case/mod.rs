//! The cases to measure.

mod attack;
mod bomb;
mod drain;
mod freshness;
mod idle;
mod ingest;
mod ingest_always;
mod ingest_replicated;
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
    /// Floods and invalid requests of a minute each, with the manifests' memory limits.
    Attack,
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
            Self::Attack => "attack",
            Self::Sizing => "sizing",
        }
    }

    fn fills_the_database(self) -> bool {
        match self {
            Self::Drain | Self::DrainTwo | Self::Bomb | Self::Idle | Self::Freshness | Self::Sizing => true,
            Self::Ingest | Self::IngestAlways | Self::IngestReplicated | Self::Attack => false,
        }
    }

    /// Measures the case on its own stage. Returns the stage for further queries.
    pub(crate) fn run(self, setup: &Setup) -> Result<(Report, Stage), Failure> {
        // A rewrite of the append-only file would affect some rounds only, so it is off, except where a whole
        // system is measured.
        let steady: &[&str] = &["--auto-aof-rewrite-percentage", "0"];
        let redis = match self {
            Self::Bomb | Self::Idle | Self::Freshness | Self::Attack => &[],
            Self::Ingest
            | Self::IngestAlways
            | Self::IngestReplicated
            | Self::Drain
            | Self::DrainTwo
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
            Self::Attack => attack::run(setup, &mut stage, &mut report),
            Self::Sizing => sizing::run(setup, &mut stage, &mut report),
        }?;
        Ok((report, stage))
    }
}

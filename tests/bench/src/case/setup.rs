//! The options of every case.

use std::path::PathBuf;
use std::time::Duration;

use fleet_harness::Interrupt;

/// The options of a measurement.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The folder of the API and the consumer.
    pub(crate) bin_dir: PathBuf,
    /// Whether to run small sizes, only to check that the benchmark works.
    pub(crate) quick: bool,
    /// How many shards each provider has.
    pub(crate) shards: u8,
    /// How many rounds to run.
    pub(crate) rounds: u32,
    pub(crate) interrupt: Interrupt,
}

impl Setup {
    /// The full or the quick value.
    pub(super) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub(super) fn seconds(&self, full: u64, quick: u64) -> Duration {
        Duration::from_secs(self.size(full, quick))
    }

    pub(super) fn say(&self, case: &str, round: u32, what: &str) {
        eprintln!("{case} {round}/{}: {what}", self.rounds);
    }
}

/// The names of the system's parts in the tables of resources.
pub(super) const API: &str = "api";
pub(super) const CONSUMER: &str = "consumer";
pub(super) const REDIS: &str = "redis";
pub(super) const REPLICA: &str = "replica";
pub(super) const POSTGRES: &str = "postgres";

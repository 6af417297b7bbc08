//! What every case needs to know.

use std::path::PathBuf;
use std::time::Duration;

use fleet_harness::Interrupt;

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Where API and consumer are.
    pub(crate) bin_dir: PathBuf,
    /// Small sizes, to see whether it works.
    pub(crate) quick: bool,
    /// How often each case and its reference run, in turn.
    pub(crate) rounds: u32,
    pub(crate) interrupt: Interrupt,
}

impl Setup {
    /// One of two sizes.
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

/// What a part of the system is called where its resources are told.
pub(super) const API: &str = "api";
pub(super) const CONSUMER: &str = "consumer";
pub(super) const REDIS: &str = "redis";
pub(super) const POSTGRES: &str = "postgres";

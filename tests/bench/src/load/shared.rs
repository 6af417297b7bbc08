//! What the load generator's threads share, and what each thread counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use hdrhistogram::Histogram;

use super::outcome::Latency;

/// What the threads share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) measuring: AtomicBool,
    pub(super) stopping: AtomicBool,
    pub(super) reports: AtomicU64,
}

/// The counts of one thread during the measurement.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) answers: BTreeMap<u16, u64>,
    pub(super) sent: u64,
    pub(super) latency_micros: Histogram<u64>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { answers: BTreeMap::new(), sent: 0, latency_micros: Latency::histogram() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (&status, count) in &other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.sent += other.sent;
        // Fails only for different bounds, and these are equal.
        let _added = self.latency_micros.add(&other.latency_micros);
    }
}

//! A batch as the writer gets it, and what the writer reports back.

use fleet_queue::Lease;

use crate::lease::obtained::Origin;

/// A batch to write. Its records come from a `SliceReader`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) origin: Origin,
    pub(crate) provider: &'static str,
    /// How many records all of its slices have.
    pub(crate) records: usize,
}

/// How much of a batch is stored when the writer returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    /// Both databases have all of it.
    Both(Written),
    /// One database has all of its part. The other one is down.
    One,
}

/// How telemetry stored the records of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) inserted: usize,
    pub(crate) duplicate: usize,
    pub(crate) dead_lettered: usize,
}

impl Written {
    pub(crate) fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicate += other.duplicate;
        self.dead_lettered += other.dead_lettered;
    }
}

//! Times as numbers that fit into one atomic value.

use std::time::{Duration, Instant};

/// The largest time.
pub(super) const NEVER: u64 = u64::MAX;

/// Counts nanoseconds since the server's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    pub(super) fn at(self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.started))
    }

    /// The time that was `ago` before now.
    pub(super) fn before(self, ago: Duration) -> u64 {
        self.now().saturating_sub(nanos(ago))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

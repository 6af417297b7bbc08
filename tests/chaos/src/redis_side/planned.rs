//! A planned failover that has been asked for.

use std::time::{Duration, Instant};

/// After this time the servers have given up the failover.
const ABORTED_AFTER: Duration = Duration::from_secs(10);

/// The servers begin a planned failover some time after they were asked. Until then they look as before.
pub(super) struct Planned {
    from: usize,
    at: Instant,
}

impl Planned {
    /// A failover from this primary.
    pub(super) fn from(primary: usize) -> Self {
        Self { from: primary, at: Instant::now() }
    }

    /// Whether no failover is on its way: another server is the primary, or the servers have given up.
    pub(super) fn is_over(planned: &mut Option<Self>, primary: Option<usize>) -> bool {
        planned.take_if(|planned| primary != Some(planned.from) || planned.at.elapsed() > ABORTED_AFTER);
        planned.is_none()
    }
}

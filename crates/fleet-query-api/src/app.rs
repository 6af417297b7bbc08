//! What every request needs.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::TrackStore;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use crate::knowledge::{Knowledge, Read};
use crate::problem::{Kind, Problem};

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) tracks: TrackStore,
    pub(crate) bounds: Bounds,
    /// Ends the streams.
    pub(crate) shutdown: CancellationToken,
}

/// The bounds of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most items in it.
    pub(crate) max_page: usize,
    /// Most time between the ends of a track.
    pub(crate) max_track_span: SignedDuration,
    /// Most time from a request to the end of its response.
    pub(crate) response_timeout: Duration,
    /// Most time for a track to wait until its caller reads no other ones.
    pub(crate) track_wait: Duration,
    /// Time between the heartbeats of a stream.
    pub(crate) heartbeat: Duration,
}

/// When the fleet was last read.
///
/// # Errors
///
/// If it has not been read yet.
pub(crate) fn read_of(read: Option<Read>) -> Result<Read, Problem> {
    read.ok_or_else(|| {
        Problem::new(Kind::Starting, "the vehicles have not been read yet; retry after Retry-After seconds")
    })
}

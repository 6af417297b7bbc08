//! The sender of a request. If room is needed, the connections of unauthenticated clients are closed first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::cause::Cause;
use super::clock::NEVER;
use super::watch::Watch;
use crate::metrics;

/// The sender of a request, as far as its connection knows.
#[derive(Clone, Debug)]
pub struct Peer(pub(super) Arc<Watch>);

impl Peer {
    /// The sender is authenticated: from now on its connection is not closed to make room. The connection holds `permit`
    /// until its end. Returns `false` if the connection has been closed already.
    pub fn note_authenticated(&self, permit: OwnedSemaphorePermit) -> bool {
        let is_kept = self.0.standing.keep();
        if is_kept {
            // An earlier request of the connection may have set one.
            let _has_one = self.0.permit.set(permit);
        }
        is_kept
    }

    /// Closes the connection after this time, unless another request has come by then. A client that reads a response slowly cannot
    /// hold it for longer. With `None` a response may take any time.
    pub fn limit_response(&self, most: Option<Duration>) {
        let deadline = most.and_then(|most| Instant::now().checked_add(most));
        let deadline = deadline.map_or(NEVER, |deadline| self.0.clock.at(deadline));
        self.0.response_deadline.store(deadline, Ordering::Release);
    }

    /// Whether the connection is safe from being closed to make room.
    pub fn is_kept(&self) -> bool {
        self.0.standing.is_kept()
    }

    /// Keeps the connection until the guard is dropped, for a request in flight. Returns `None` if the connection has been
    /// closed already.
    pub fn keep_for_request(&self) -> Option<Kept> {
        let was_kept = self.0.standing.is_kept();
        self.0.standing.keep().then(|| Kept { watch: Arc::clone(&self.0), was_kept })
    }

    /// Exposes the connection to being closed to make room until the guard is dropped, because the server waits for the
    /// rest of an unauthenticated request. That holds also for a connection that has brought authenticated requests: a load
    /// balancer's connections carry the requests of many clients.
    pub fn expose(&self) -> Exposed {
        let (standing, now) = (&self.0.standing, self.0.clock.now());
        let was_kept = standing.expose(now);
        if let Some(since) = standing.closable_since() {
            // The headers are complete: that is progress.
            standing.note_progress(since, now);
        }
        Exposed { watch: Arc::clone(&self.0), was_kept }
    }

    /// Closes the connection to make room, if it may be closed.
    pub fn make_room(&self, cause: Cause) {
        if self.0.standing.closable_since().is_some_and(|since| self.0.close(since)) {
            metrics::connections_closed(self.0.listener, cause, 1);
        }
    }
}

/// Keeps a connection.
#[derive(Debug)]
pub struct Kept {
    watch: Arc<Watch>,
    was_kept: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.was_kept {
            let _was_kept = self.watch.standing.expose(self.watch.clock.now());
        }
    }
}

/// Exposes a connection to being closed to make room.
#[derive(Debug)]
pub struct Exposed {
    watch: Arc<Watch>,
    was_kept: bool,
}

impl Drop for Exposed {
    fn drop(&mut self) {
        if self.was_kept {
            let _is_open = self.watch.standing.keep();
        }
    }
}

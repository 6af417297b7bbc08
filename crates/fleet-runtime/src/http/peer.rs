//! Whether the sender at the other end of a connection is known. If room is needed, connections of unknown senders go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OwnedSemaphorePermit;

use super::connections::Watch;
use crate::metrics;

/// The connection is not closed to make room.
const KEPT: u64 = u64::MAX;

/// The connection has been chosen to make room, and is about to be closed.
const CLOSED: u64 = u64::MAX - 1;

/// Nobody has looked yet what the connection brings: however busy this process is, that comes first.
const NEW: u64 = u64::MAX - 2;

/// Whether a connection may be closed to make room, and since when: nanoseconds since the server's start, [`NEW`], [`KEPT`] or
/// [`CLOSED`]. Whoever closes a connection and the connection itself agree by exchanging this one value.
#[derive(Debug)]
pub(super) struct Standing(AtomicU64);

impl Standing {
    /// A new connection, whose sender nobody knows.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(NEW))
    }

    /// What a new connection has brought with it has been read.
    pub(super) fn has_been_read(&self, now: u64) {
        let _kept_or_closed = self.exchange(NEW, now.min(NEW - 1));
    }

    /// Since when the connection may be closed to make room; `None` if it is new or kept, or closed already.
    pub(super) fn closable_since(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|since| *since < NEW)
    }

    /// Closes the connection, unless it has changed since it was looked at.
    pub(super) fn close(&self, since: u64) -> bool {
        self.exchange(since, CLOSED)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }

    pub(super) fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == KEPT
    }

    /// Keeps the connection. `false`: it has been closed meanwhile.
    fn keep(&self) -> bool {
        loop {
            match self.0.load(Ordering::Acquire) {
                KEPT => return true,
                CLOSED => return false,
                old if self.exchange(old, KEPT) => return true,
                _changed => {}
            }
        }
    }

    fn exchange(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What room was needed for when a connection was closed: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another connection.
    Connections,
    /// The process has no file descriptor left.
    Files,
    /// Bodies of unknown senders.
    BodyBytes,
}

impl Cause {
    pub(crate) const ALL: [Self; 3] = [Self::Connections, Self::Files, Self::BodyBytes];

    /// Name in metric labels and log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Files => "files",
            Self::BodyBytes => "body_bytes",
        }
    }
}

/// The sender of a request, as far as its connection knows.
#[derive(Clone, Debug)]
pub struct Peer(pub(super) Arc<Watch>);

impl Peer {
    /// The sender has proven who it is: from now on its connection is not closed to make room for others. `permit` is held
    /// until its end. `false`: it has been closed already.
    pub fn note_authenticated(&self, permit: OwnedSemaphorePermit) -> bool {
        let is_kept = self.0.standing.keep();
        if is_kept {
            // Another request over the same connection may have brought one.
            let _has_one = self.0.permit.set(permit);
        }
        is_kept
    }

    /// The connection is not closed to make room.
    pub fn is_kept(&self) -> bool {
        self.0.standing.is_kept()
    }

    /// A request of a sender that proves nothing is being worked on: its connection is kept until the guard is dropped.
    /// `None`: it has been closed already.
    pub fn work(&self) -> Option<Kept> {
        let was_kept = self.0.standing.is_kept();
        self.0.standing.keep().then(|| Kept { watch: Arc::clone(&self.0), was_kept })
    }

    /// The server waits for the rest of a request whose sender it does not know. Its connection may be closed to make room
    /// until the guard is dropped, also one that has brought good requests before: a balancer's connections carry
    /// everybody's requests.
    pub fn unknown(&self) -> Exposed {
        let (standing, now) = (&self.0.standing, self.0.now());
        let exposed = standing.exchange(KEPT, now);
        if let Some(since) = standing.closable_since() {
            // The whole head has come: that is progress.
            let _closed_or_fresh = standing.exchange(since, now);
        }
        Exposed { watch: Arc::clone(&self.0), exposed }
    }

    /// Closes the connection to make room, if it may be closed.
    pub fn make_room(&self, cause: Cause) {
        let standing = &self.0.standing;
        if standing.closable_since().is_some_and(|since| standing.close(since)) {
            metrics::connections_closed(self.0.listener, cause, 1);
            self.0.wake();
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
            let _closed_or_exposed = self.watch.standing.exchange(KEPT, self.watch.now());
        }
    }
}

/// Exposes a connection to being closed.
#[derive(Debug)]
pub struct Exposed {
    watch: Arc<Watch>,
    /// It was kept before, and will be again.
    exposed: bool,
}

impl Drop for Exposed {
    fn drop(&mut self) {
        if self.exposed {
            let _is_open = self.watch.standing.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_either_kept_or_closed() {
        let read = || {
            let standing = Standing::new();
            assert_eq!(standing.closable_since(), None, "nobody has looked what it brings");
            standing.has_been_read(5);
            standing
        };
        let standing = read();
        standing.has_been_read(7);
        assert_eq!(standing.closable_since(), Some(5));
        assert!(standing.keep());
        assert!(standing.keep(), "again");
        assert_eq!(standing.closable_since(), None);
        assert!(!standing.close(5), "it was kept in the meantime");
        assert!(standing.is_kept() && !standing.is_closed());

        let standing = read();
        assert!(standing.close(5));
        assert!(standing.is_closed() && !standing.keep(), "too late");
        assert!(!standing.close(5), "once");

        let standing = Standing::new();
        assert!(standing.keep(), "it has brought an authenticated request with it");
        standing.has_been_read(5);
        assert!(standing.is_kept());
    }
}

//! Whether a connection may be closed to make room.

use std::sync::atomic::{AtomicU64, Ordering};

/// The connection is not closed to make room.
const KEPT: u64 = u64::MAX;

/// The connection has been chosen to make room, and is about to be closed.
const CLOSED: u64 = u64::MAX - 1;

/// The connection has not been read yet. However busy this process is, it reads a connection before it closes it.
const NEW: u64 = u64::MAX - 2;

/// Since when a connection may be closed to make room: a time of [`Clock`](super::clock::Clock), or [`NEW`], [`KEPT`] or
/// [`CLOSED`]. The connection and the task that closes it compare and exchange this one value, so that they always agree.
#[derive(Debug)]
pub(super) struct Standing(AtomicU64);

impl Standing {
    /// A new connection.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(NEW))
    }

    /// A new connection has been read for the first time.
    pub(super) fn has_been_read(&self, now: u64) {
        let _kept_or_closed = self.exchange(NEW, now.min(NEW - 1));
    }

    /// Since when the connection may be closed to make room; `None` if it is new, kept or closed.
    pub(super) fn closable_since(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|since| *since < NEW)
    }

    /// Closes the connection, unless it has changed since `since` was read.
    pub(super) fn close(&self, since: u64) -> bool {
        self.exchange(since, CLOSED)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }

    pub(super) fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == KEPT
    }

    /// Keeps the connection; returns `false` if it is closed.
    pub(super) fn keep(&self) -> bool {
        loop {
            match self.0.load(Ordering::Acquire) {
                KEPT => return true,
                CLOSED => return false,
                old if self.exchange(old, KEPT) => return true,
                _changed => {}
            }
        }
    }

    /// Exposes a kept connection again. Returns whether it was kept.
    pub(super) fn expose(&self, now: u64) -> bool {
        self.exchange(KEPT, now)
    }

    /// Notes progress of a connection that may be closed since `since`.
    pub(super) fn note_progress(&self, since: u64, now: u64) {
        let _closed_or_progressed = self.exchange(since, now);
    }

    fn exchange(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_either_kept_or_closed() {
        let read = || {
            let standing = Standing::new();
            assert_eq!(standing.closable_since(), None, "it has not been read");
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

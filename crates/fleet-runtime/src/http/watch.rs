//! One connection, as seen by itself and by the set of all connections.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::clock::{Clock, NEVER};
use super::standing::Standing;

/// What a connection and [`Connections`](super::connections::Connections) tell each other. Times are those of `clock`.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) listener: &'static str,
    pub(super) clock: Clock,
    pub(super) standing: Standing,
    /// An authenticated connection's permit of its provider's share.
    pub(super) permit: OnceLock<OwnedSemaphorePermit>,
    pub(super) header_deadline: AtomicU64,
    /// The last deadline that the sweep has found passed. Headers that arrived meanwhile have set a later one.
    pub(super) passed_deadline: AtomicU64,
    /// When the connection is closed unless another request has come, because its response has taken too long.
    pub(super) response_deadline: AtomicU64,
    pub(super) closing: AtomicBool,
    /// The connection's task.
    pub(super) task: AtomicWaker,
}

impl Watch {
    pub(super) fn new(listener: &'static str, clock: Clock) -> Self {
        Self {
            listener,
            clock,
            standing: Standing::new(),
            permit: OnceLock::new(),
            header_deadline: AtomicU64::new(NEVER),
            passed_deadline: AtomicU64::new(0),
            response_deadline: AtomicU64::new(NEVER),
            closing: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Whether the response has taken too long.
    pub(super) fn is_overdue(&self) -> bool {
        let deadline = self.response_deadline.load(Ordering::Acquire);
        // Most services set none, and read no clock for it.
        deadline != NEVER && deadline <= self.clock.now()
    }

    /// Closes the connection to make room, unless it has changed since `since` was read. Says whether it did.
    pub(super) fn close(&self, since: u64) -> bool {
        let is_closed = self.standing.close(since);
        if is_closed {
            self.task.wake();
        }
        is_closed
    }
}

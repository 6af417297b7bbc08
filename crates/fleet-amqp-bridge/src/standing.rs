//! Whether a queue in Redis takes pushes, shared by the pushes and the watch of the queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_queue::{
    BacklogCap, CapChange, Ledger, PushHistory, QueueError, ShardHealth, ShardHealthRecord, ShardState,
};
use tokio::sync::Notify;

use crate::metrics::PushMetrics;
use crate::push_log::PushLog;

/// How often the backlog is read while it is above its cap.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(200);

/// How often the ledger is read while the last messages are not settled.
const LEDGER_INTERVAL: Duration = Duration::from_secs(2);

/// What is known about one queue.
#[derive(Debug)]
pub(crate) struct Standing {
    state: Mutex<State>,
    health: ShardHealth,
    /// Wakes the watch: it has more to do than before.
    pub(crate) changed: Notify,
    /// Wakes who waits until any queue takes pushes.
    usable: Arc<Notify>,
    metrics: PushMetrics,
}

#[derive(Debug)]
struct State {
    record: ShardHealthRecord,
    cap: BacklogCap,
    history: PushHistory,
    log: PushLog,
}

impl Standing {
    pub(crate) fn new(metrics: PushMetrics, max_backlog_bytes: u64, usable: Arc<Notify>) -> Self {
        let health = ShardHealth::default();
        let state = State {
            record: ShardHealthRecord::new(health.clone()),
            cap: BacklogCap::new(max_backlog_bytes),
            history: PushHistory::default(),
            log: PushLog::new(metrics.queue),
        };
        Self { state: Mutex::new(state), health, changed: Notify::new(), usable, metrics }
    }

    /// Whether the queue takes pushes.
    pub(crate) fn state(&self) -> ShardState {
        if self.lock().cap.is_full() {
            ShardState::Shedding
        } else if self.health.is_working() {
            ShardState::Working { waiting: 0 }
        } else {
            ShardState::Failing
        }
    }

    /// Whether the caller may try this queue after a failed push.
    pub(crate) fn take_trial(&self) -> bool {
        self.health.take_trial()
    }

    /// Whether pushes fail, or nobody knows.
    pub(crate) fn is_failing(&self) -> bool {
        !self.health.is_working()
    }

    /// How long to wait before the next read of the ledger. `None` if none is needed.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let state = self.lock();
        if state.cap.is_full() {
            return Some(BACKLOG_INTERVAL);
        }
        state.record.pause().or_else(|| state.history.is_owed().then_some(LEDGER_INTERVAL))
    }

    /// Redis has stored a push of so many messages and bytes. `confirmed` says whether the replicas that must have it do.
    pub(crate) fn pushed(&self, stored: &Stored<'_>) {
        let mut state = self.lock();
        state.record.succeeded();
        state.log.succeeded_push();
        match stored.ledger {
            Ok(ledger) => {
                state.log.succeeded_count();
                if let Some(loss) = state.history.pushed(ledger, stored.messages) {
                    self.metrics.unaccounted(loss.missing_messages);
                    state.log.loss(loss);
                }
                let change = state.cap.pushed(ledger.backlog().bytes);
                self.changed_cap(&mut state, change, ledger.backlog().bytes);
            }
            Err(error) => {
                state.log.failed_count(error, stored.messages);
                state.history.forget();
                // Only the length of the list is known then.
                let bytes = stored.waiting_messages.saturating_mul(stored.bytes / stored.messages.max(1));
                let change = state.cap.pushed(bytes);
                self.changed_cap(&mut state, change, bytes);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// A push failed.
    pub(crate) fn failed(&self, error: &QueueError, messages: usize) {
        let mut state = self.lock();
        state.record.failed();
        state.log.failed_push(error, messages);
        drop(state);
        self.changed.notify_one();
    }

    /// Evaluates a read of the ledger.
    pub(crate) fn looked(&self, looked: Result<Ledger, QueueError>) {
        let mut state = self.lock();
        match looked {
            Ok(ledger) => {
                state.history.looked(&ledger);
                state.record.responds();
                state.log.succeeded_read();
                if state.cap.is_full() {
                    let bytes = ledger.backlog().bytes;
                    let change = state.cap.looked(bytes);
                    self.changed_cap(&mut state, change, bytes);
                }
            }
            // Redis responds. If the ledger is unusable, only a push shows whether there is room.
            Err(error) if error.is_broken_key() => {
                state.history.forget();
                state.record.responds();
                if state.cap.is_full() {
                    state.cap.probe();
                }
            }
            Err(error) => state.log.failed_read(&error),
        }
        drop(state);
        self.usable.notify_one();
    }

    fn changed_cap(&self, state: &mut State, change: Option<CapChange>, backlog_bytes: u64) {
        let Some(change) = change else { return };
        self.metrics.shedding(change == CapChange::Full);
        let max_bytes = state.cap.max_bytes();
        state.log.changed_cap(change, backlog_bytes, max_bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Redis has replied to a push.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages in the list after the push.
    pub(crate) waiting_messages: u64,
    pub(crate) ledger: Result<&'a Ledger, &'a QueueError>,
}

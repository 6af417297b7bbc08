//! Log lines about the pushes to one queue in Redis: at most one line a minute for each kind of failure, and one when it is over.

use std::time::Instant;

use fleet_queue::{CapChange, HistoryLoss, Queue, QueueError};
use fleet_runtime::outage::{Failing, OutageLog, Over};

use crate::metrics;

/// Logs what goes wrong with one queue's pushes.
#[derive(Debug)]
pub(crate) struct PushLog {
    queue: Queue,
    /// Counts messages.
    failed_pushes: OutageLog,
    /// Counts messages.
    failed_counts: OutageLog,
    /// Counts reads of the ledger.
    failed_reads: OutageLog,
}

impl PushLog {
    pub(crate) fn new(queue: Queue) -> Self {
        Self {
            queue,
            failed_pushes: OutageLog::default(),
            failed_counts: OutageLog::default(),
            failed_reads: OutageLog::default(),
        }
    }

    /// A push failed, or Redis did not respond before one.
    pub(crate) fn failed_push(&mut self, error: &QueueError, messages: usize) {
        metrics::redis_error(error.kind());
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        if let Some(Failing { failures, lasted }) = self.failed_pushes.failed(Instant::now(), messages) {
            tracing::warn!(
                provider = self.queue.provider(),
                queue = %self.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "pushes to Redis fail: the messages stay unacknowledged at the broker, and the bridge retries"
            );
        }
    }

    pub(crate) fn succeeded_push(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_pushes.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.queue.provider(),
                queue = %self.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                "pushes to Redis succeed again"
            );
        }
    }

    /// Redis stored a push and did not update the ledger.
    pub(crate) fn failed_count(&mut self, error: &QueueError, messages: u64) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.failed_counts.failed(Instant::now(), messages) {
            tracing::warn!(
                provider = self.queue.provider(),
                queue = %self.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "Redis stores pushes and does not count them: acknowledging, and estimating the backlog from the queue's length"
            );
        }
    }

    pub(crate) fn succeeded_count(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_counts.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.queue.provider(),
                queue = %self.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                "Redis counts pushes again"
            );
        }
    }

    /// The ledger could not be read while pushes fail or the backlog is above its cap.
    pub(crate) fn failed_read(&mut self, error: &QueueError) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.failed_reads.failed(Instant::now(), 1) {
            tracing::warn!(
                provider = self.queue.provider(),
                queue = %self.queue,
                failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "cannot read the backlog from Redis: pushing nothing until it responds"
            );
        }
    }

    pub(crate) fn succeeded_read(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_reads.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.queue.provider(),
                queue = %self.queue,
                failures,
                seconds = lasted.as_secs(),
                "the backlog can be read from Redis again"
            );
        }
    }

    /// The backlog is above its cap, or below it again.
    pub(crate) fn changed_cap(&self, change: CapChange, backlog_bytes: u64, cap_bytes: u64) {
        let provider = self.queue.provider();
        match change {
            CapChange::Full => tracing::warn!(
                provider,
                queue = %self.queue,
                backlog_bytes,
                cap_bytes,
                "backlog above its cap: leaving messages unacknowledged at the broker until consumers catch up"
            ),
            CapChange::Room => tracing::info!(
                provider,
                queue = %self.queue,
                backlog_bytes,
                cap_bytes,
                "backlog below its cap again: pushing messages"
            ),
        }
    }

    /// Redis has forgotten messages that it had confirmed to this process.
    pub(crate) fn loss(&self, loss: HistoryLoss) {
        let HistoryLoss { missing_messages } = loss;
        let provider = self.queue.provider();
        if missing_messages == 0 {
            tracing::warn!(
                provider,
                queue = %self.queue,
                "Redis has gone back behind what it had confirmed; everything that it has forgotten was stored before"
            );
        } else {
            tracing::error!(
                provider,
                queue = %self.queue,
                missing_messages,
                "Redis has gone back behind what it had confirmed: up to so many messages that were acknowledged to the broker \
                 are gone; see the runbook, FleetWebhooksUnaccounted"
            );
        }
    }
}

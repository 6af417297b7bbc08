//! Log lines about one queue's pushes: at most one line a minute for each kind of failure, and one when it is over.

use std::time::Instant;

use fleet_queue::{HistoryLoss, QueueError};
use fleet_runtime::outage::{Failing, OutageLog, Over};

use super::waiting::FirstMessage;
use crate::metrics::{self, CommitMetrics, Shed};

/// Where `cargo xtask chaos` looks for failed pushes.
const TARGET: &str = "fleet_webhook_api::group_commit";

/// Logs and counts what goes wrong with one queue's pushes.
pub(super) struct PushLog {
    metrics: CommitMetrics,
    /// Counts webhooks.
    failed_pushes: OutageLog,
    /// Counts webhooks.
    failed_counts: OutageLog,
    /// Counts reads of the backlog while it is above its cap.
    failed_reads: OutageLog,
}

impl PushLog {
    pub(super) fn new(metrics: CommitMetrics) -> Self {
        Self {
            metrics,
            failed_pushes: OutageLog::default(),
            failed_counts: OutageLog::default(),
            failed_reads: OutageLog::default(),
        }
    }

    /// Redis has forgotten messages that it had confirmed to this process.
    pub(super) fn loss(&self, loss: HistoryLoss) {
        let HistoryLoss { missing_messages } = loss;
        let provider = self.metrics.provider;
        self.metrics.unaccounted(missing_messages);
        if missing_messages == 0 {
            tracing::warn!(
                provider,
                queue = %self.metrics.queue,
                "Redis has gone back behind what it had confirmed; everything that it has forgotten was stored before"
            );
        } else {
            tracing::error!(
                provider,
                queue = %self.metrics.queue,
                missing_messages,
                "Redis has gone back behind what it had confirmed: up to so many webhooks that were answered 200 are gone; \
                 see the runbook, FleetWebhooksUnaccounted"
            );
        }
    }

    /// A push failed. The line names the first message of the latest push.
    pub(super) fn failed_push(&mut self, error: &QueueError, messages: usize, first: &FirstMessage) {
        metrics::redis_error(error.kind());
        let is_unconfirmed = matches!(error, QueueError::Unconfirmed(_));
        let reason = if is_unconfirmed { Shed::Unconfirmed } else { Shed::RedisUnavailable };
        self.metrics.shed.count_all(reason, messages);
        let (provider, kind) = (self.metrics.provider, error.kind());
        let queue = self.metrics.queue;
        tracing::debug!(target: TARGET, provider, %queue, messages, kind, %error, "a push failed");
        let webhooks = u64::try_from(messages).unwrap_or(u64::MAX);
        if let Some(Failing { failures, lasted }) = self.failed_pushes.failed(Instant::now(), webhooks) {
            tracing::warn!(
                provider,
                queue = %self.metrics.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                message_id = %first.message_id,
                trace_id = first.trace_id,
                kind,
                %error,
                "pushes to Redis fail: answering 503; message_id is the first message of the latest push"
            );
        }
    }

    pub(super) fn succeeded_push(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_pushes.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                queue = %self.metrics.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                "pushes to Redis succeed again"
            );
        }
    }

    /// Redis stored a push and did not update the ledger.
    pub(super) fn failed_count(&mut self, error: &QueueError, messages: u64) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.failed_counts.failed(Instant::now(), messages) {
            tracing::warn!(
                provider = self.metrics.provider,
                queue = %self.metrics.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "Redis stores pushes and does not count them: answering 200, and estimating the backlog from the queue's \
                 length"
            );
        }
    }

    pub(super) fn succeeded_count(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_counts.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                queue = %self.metrics.queue,
                messages = failures,
                seconds = lasted.as_secs(),
                "Redis counts pushes again"
            );
        }
    }

    /// The backlog could not be read while it is above its cap.
    pub(super) fn failed_read(&mut self, error: &QueueError) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.failed_reads.failed(Instant::now(), 1) {
            tracing::warn!(
                provider = self.metrics.provider,
                queue = %self.metrics.queue,
                failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "cannot read the backlog from Redis: answering 503"
            );
        }
    }

    pub(super) fn succeeded_read(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_reads.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                queue = %self.metrics.queue,
                failures,
                seconds = lasted.as_secs(),
                "the backlog can be read from Redis again"
            );
        }
    }
}

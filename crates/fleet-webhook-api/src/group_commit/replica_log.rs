//! Log lines about replicas that do not confirm pushes: one when it begins, one a minute, and one when it is over.

use std::time::{Duration, Instant};

use fleet_queue::{Confirmation, Queue, QueueError};
use fleet_runtime::outage::{Failing, OutageLog, Over};

use crate::metrics;

/// Logs what replicas do not confirm for one queue.
pub(super) struct ReplicaLog {
    queue: Queue,
    outage: OutageLog,
}

impl ReplicaLog {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, outage: OutageLog::default() }
    }

    /// A push was sent, and too few replicas have confirmed it.
    pub(super) fn unconfirmed(&mut self, found: Confirmation) {
        let Confirmation { wanted, received, on_primary, on_replicas } = found;
        if let Some(Failing { lasted, .. }) = self.outage.failed(Instant::now(), 1) {
            tracing::warn!(
                provider = self.queue.provider(),
                queue = %self.queue,
                seconds = lasted.as_secs(),
                wanted,
                received,
                on_primary,
                on_replicas,
                "too few replicas have confirmed a push: nothing is pushed until they have, and webhooks are answered 503 after \
                 FLEET_QUEUE__TIMEOUT; check the replicas of Redis"
            );
        }
    }

    /// The confirmation of a push could not be asked for.
    pub(super) fn failed(&mut self, error: &QueueError) {
        metrics::redis_error(error.kind());
        if let Some(Failing { lasted, .. }) = self.outage.failed(Instant::now(), 1) {
            tracing::warn!(
                provider = self.queue.provider(),
                queue = %self.queue,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "the confirmation of a push cannot be asked for: its webhooks are answered 503"
            );
        }
    }

    /// A push stayed unconfirmed for too long.
    pub(super) fn gave_up(&self, waited: Duration) {
        tracing::warn!(
            provider = self.queue.provider(),
            queue = %self.queue,
            seconds = waited.as_secs(),
            "a push stays unconfirmed: connecting to Redis again, because the server may not be the primary any more"
        );
    }

    /// Replicas have confirmed a write.
    pub(super) fn confirmed(&mut self) {
        if let Some(Over { lasted, .. }) = self.outage.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.queue.provider(),
                queue = %self.queue,
                seconds = lasted.as_secs(),
                "replicas confirm pushes again"
            );
        }
    }
}

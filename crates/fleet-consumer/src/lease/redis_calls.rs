//! Counts and logs one queue's failed calls to Redis.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fleet_queue::{Queue, QueueError};
use fleet_runtime::outage::{Failing, OutageLog, Over};

use crate::metrics;

/// The calls of all loops and heartbeats of one queue. They share a log, so that an outage is logged once.
#[derive(Debug)]
pub(crate) struct RedisCalls {
    queue: Queue,
    log: Mutex<OutageLog>,
}

impl RedisCalls {
    pub(crate) fn new(queue: Queue) -> Self {
        Self { queue, log: Mutex::default() }
    }

    /// Counts a failed call, and logs when an outage begins, goes on and ends.
    pub(crate) fn note<T>(&self, result: &Result<T, QueueError>) {
        match result {
            Ok(_value) => self.succeeded(),
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: &QueueError) {
        metrics::redis::redis_error(error.kind());
        let due = self.with_log(|log| log.failed(Instant::now(), 1));
        if let Some(Failing { failures, lasted }) = due {
            tracing::warn!(
                queue = %self.queue,
                failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "a call to Redis failed: retrying"
            );
        }
    }

    fn succeeded(&self) {
        let over = self.with_log(|log| log.succeeded(Instant::now()));
        if let Some(Over { failures, lasted }) = over {
            let seconds = lasted.as_secs();
            tracing::info!(queue = %self.queue, failures, seconds, "calls to Redis succeed again");
        }
    }

    fn with_log<T>(&self, work: impl FnOnce(&mut OutageLog) -> T) -> T {
        // The lock guards nothing but the decision whether to log, so a panic in it does no harm.
        work(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

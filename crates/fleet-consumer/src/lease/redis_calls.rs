//! What is counted and logged of one queue's calls to Redis.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fleet_queue::QueueError;
use fleet_runtime::outage::{Failing, OutageLog, Over};

use crate::metrics;

/// The calls of all the loops and heartbeats that work on one queue: together they log one outage.
#[derive(Debug)]
pub(crate) struct RedisCalls {
    queue: &'static str,
    log: Mutex<OutageLog>,
}

impl RedisCalls {
    pub(crate) fn new(queue: &'static str) -> Self {
        Self { queue, log: Mutex::default() }
    }

    /// Counts a call that failed, and logs when that begins, goes on and ends.
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
                queue = self.queue,
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
            tracing::info!(queue = self.queue, failures, seconds, "calls to Redis succeed again");
        }
    }

    fn with_log<T>(&self, work: impl FnOnce(&mut OutageLog) -> T) -> T {
        // Whatever a panic leaves behind decides about log lines only.
        work(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

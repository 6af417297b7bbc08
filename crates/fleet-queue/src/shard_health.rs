//! Whether a queue accepts pushes, so that a provider's messages can go to another shard while it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long to wait before a read from the server after a push has failed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest such pause. Each message that tries the queue again and fails doubles the pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// Pushes succeed, or none has been tried.
const WORKING: u8 = 0;
/// The last push failed.
const FAILING: u8 = 1;
/// The last push failed, and the server responds again. One message may try.
const TRIAL: u8 = 2;

/// The health of one queue, as its last push has shown. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ShardHealth(Arc<AtomicU8>);

impl ShardHealth {
    /// Whether the last push succeeded, or none has been tried.
    pub fn is_working(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WORKING
    }

    /// Whether the caller's message is the one that may try a queue whose server responds again.
    pub fn take_trial(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TRIAL
            && self.0.compare_exchange(TRIAL, FAILING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }
}

/// The side of [`ShardHealth`] that knows the results of pushes.
#[derive(Debug)]
pub struct ShardHealthRecord {
    health: ShardHealth,
    pause: Duration,
}

impl ShardHealthRecord {
    /// The record of `health`.
    pub fn new(health: ShardHealth) -> Self {
        Self { health, pause: FIRST_PAUSE }
    }

    /// The last push failed, or waits for replicas.
    pub fn failed(&mut self) {
        if !self.health.is_working() {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.health.set(FAILING);
    }

    /// The last push succeeded.
    pub fn succeeded(&mut self) {
        self.pause = FIRST_PAUSE;
        self.health.set(WORKING);
    }

    /// The server responds. That it accepts pushes is not known: its memory may be full, or the queue's key may be broken.
    pub fn responds(&self) {
        if !self.health.is_working() {
            self.health.set(TRIAL);
        }
    }

    /// How long to wait before a read that finds out whether the server responds. `None` if pushes succeed.
    pub fn pause(&self) -> Option<Duration> {
        (!self.health.is_working()).then_some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_tries_a_queue_whose_server_responds_again() {
        let health = ShardHealth::default();
        let mut record = ShardHealthRecord::new(health.clone());
        assert!(health.is_working() && !health.take_trial() && record.pause().is_none());
        record.responds();
        assert!(health.is_working(), "a read says nothing new");
        record.failed();
        assert!(!health.is_working() && !health.take_trial(), "nobody knows yet whether the server responds");
        record.responds();
        assert!(!health.is_working() && health.take_trial() && !health.take_trial(), "only one");
        record.succeeded();
        assert!(health.is_working());
    }

    #[test]
    fn failed_trials_become_rarer() {
        let mut record = ShardHealthRecord::new(ShardHealth::default());
        let mut pauses = Vec::new();
        for _failure in 0..5 {
            record.failed();
            pauses.extend(record.pause().map(|pause| pause.as_secs()));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 16]);
        record.succeeded();
        record.failed();
        assert_eq!(record.pause(), Some(FIRST_PAUSE));
    }
}

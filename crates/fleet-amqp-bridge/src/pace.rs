//! How long to wait before a queue is consumed again.
//!
//! A broker counts how often it has delivered a message. Quorum queues discard a message after 20 deliveries by default, and
//! with it go all that were delivered together. So consumers that end again and again without an ack must become rare.

use std::time::Duration;

use fleet_runtime::retry::{Backoff, RetryPauses};

/// From so many consumers without an ack in a row on, the pauses are long.
const MANY_ABORTS: u32 = 3;

/// The pauses of one queue.
#[derive(Debug)]
pub(crate) struct Pace {
    retries: Backoff,
    abort_pauses: Backoff,
    aborts: u32,
}

/// What a consumer has left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Messages that it acknowledged.
    pub(crate) acked: u64,
    /// Messages that the broker delivers again.
    pub(crate) unacked: usize,
}

/// The pause before the next consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) lasts: Duration,
    /// Consumers in a row that returned messages and acknowledged none; 0 unless the pause is long because of them.
    pub(crate) aborts: u32,
}

impl Pace {
    pub(crate) fn new(retries: RetryPauses, abort_pauses: RetryPauses) -> Self {
        Self { retries: retries.start(), abort_pauses: abort_pauses.start(), aborts: 0 }
    }

    /// A consumer has ended, or could not be started.
    pub(crate) fn ended(&mut self, remains: Remains) -> Pause {
        if remains.acked > 0 {
            // The messages that were delivered again came first, so each count stays low.
            self.retries.reset();
            self.abort_pauses.reset();
            self.aborts = 0;
        } else if remains.unacked > 0 {
            self.aborts = self.aborts.saturating_add(1);
        }
        if self.aborts >= MANY_ABORTS && remains.unacked > 0 {
            return Pause { lasts: self.abort_pauses.next_pause(), aborts: self.aborts };
        }
        Pause { lasts: self.retries.next_pause(), aborts: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn pace() -> Pace {
        let retries = RetryPauses { first: Duration::from_secs(1), longest: MINUTE / 2 };
        Pace::new(retries, RetryPauses { first: MINUTE, longest: MINUTE * 10 })
    }

    fn remains(acked: u64, unacked: usize) -> Remains {
        Remains { acked, unacked }
    }

    #[test]
    fn consumers_that_only_return_messages_become_rare() {
        let mut pace = pace();
        let pauses: Vec<_> = (0..20).map(|_| pace.ended(remains(0, 1000))).collect();
        assert!(pauses[..2].iter().all(|pause| pause.lasts < MINUTE / 2 && pause.aborts == 0), "{pauses:?}");
        assert!(pauses[2..].iter().all(|pause| pause.lasts >= MINUTE / 2), "{pauses:?}");
        let whole: Duration = pauses.iter().map(|pause| pause.lasts).sum();
        assert!(whole > MINUTE * 60, "20 deliveries take more than an hour: {whole:?}");
    }

    #[test]
    fn progress_shortens_the_pauses() {
        let mut pace = pace();
        for _abort in 0..5 {
            pace.ended(remains(0, 7));
        }
        assert_eq!(pace.ended(remains(1, 7)).aborts, 0);
        assert!(pace.ended(remains(0, 7)).lasts < MINUTE / 2);
    }

    #[test]
    fn a_queue_that_cannot_be_consumed_returns_nothing() {
        let mut pace = pace();
        let pauses: Vec<_> = (0..20).map(|_| pace.ended(remains(0, 0))).collect();
        assert!(pauses.iter().all(|pause| pause.lasts <= MINUTE / 2 && pause.aborts == 0), "{pauses:?}");
    }
}

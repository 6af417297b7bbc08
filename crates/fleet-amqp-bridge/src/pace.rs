//! How long to wait before a queue is consumed again.
//!
//! A broker counts how often it has delivered a message. Quorum queues discard a message after 20 deliveries by default, and
//! with it go all that were delivered together. So consumers that end again and again with little or nothing acknowledged must
//! become rare.

use std::time::Duration;

use fleet_runtime::retry::{Backoff, RetryPauses};

/// From so many aborts in a row on, the pauses are long.
const MANY_ABORTS: u32 = 3;

/// A consumer made progress if the messages that it acknowledged, times this, are as many as those that it returned.
const ENOUGH_ACKED: u64 = 10;

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
    /// Messages that have arrived, and that the broker delivers again.
    pub(crate) unacked: usize,
    /// Whether the broker may have sent messages that have not arrived. It delivers them again, and counts that.
    pub(crate) may_have_delivered: bool,
}

/// What the end of a consumer means for the broker's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What comes again was mostly delivered for the first time, so each count stays low.
    Progress,
    /// Messages come again, and their counts grow.
    Abort,
    /// No message was delivered.
    Nothing,
}

impl Remains {
    fn outcome(self) -> Outcome {
        let unacked = u64::try_from(self.unacked).unwrap_or(u64::MAX);
        if self.acked == 0 && unacked == 0 && !self.may_have_delivered {
            Outcome::Nothing
        } else if self.acked > 0 && self.acked.saturating_mul(ENOUGH_ACKED) >= unacked {
            Outcome::Progress
        } else {
            Outcome::Abort
        }
    }
}

/// The pause before the next consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) lasts: Duration,
    /// Aborts in a row; 0 unless the pause is long because of them.
    pub(crate) aborts: u32,
}

impl Pace {
    pub(crate) fn new(retries: RetryPauses, abort_pauses: RetryPauses) -> Self {
        Self { retries: retries.start(), abort_pauses: abort_pauses.start(), aborts: 0 }
    }

    /// A consumer has ended, or could not be started.
    pub(crate) fn ended(&mut self, remains: Remains) -> Pause {
        match remains.outcome() {
            Outcome::Progress => {
                self.retries.reset();
                self.abort_pauses.reset();
                self.aborts = 0;
            }
            Outcome::Abort => return self.aborted(),
            Outcome::Nothing => {}
        }
        self.short()
    }

    fn aborted(&mut self) -> Pause {
        self.aborts = self.aborts.saturating_add(1);
        if self.aborts < MANY_ABORTS {
            return self.short();
        }
        Pause { lasts: self.abort_pauses.next_pause(), aborts: self.aborts }
    }

    fn short(&mut self) -> Pause {
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
        Remains { acked, unacked, may_have_delivered: true }
    }

    fn only_aborts(remains: Remains) {
        let mut pace = pace();
        let pauses: Vec<_> = (0..20).map(|_| pace.ended(remains)).collect();
        assert!(pauses[..2].iter().all(|pause| pause.lasts < MINUTE / 2 && pause.aborts == 0), "{pauses:?}");
        assert!(pauses[2..].iter().all(|pause| pause.lasts >= MINUTE / 2), "{pauses:?}");
        let whole: Duration = pauses.iter().map(|pause| pause.lasts).sum();
        assert!(whole > MINUTE * 60, "20 deliveries take more than an hour: {whole:?}");
    }

    #[test]
    fn consumers_that_only_return_messages_become_rare() {
        only_aborts(remains(0, 1000));
    }

    /// The broker has sent a window that never arrived.
    #[test]
    fn consumers_whose_messages_never_arrive_become_rare() {
        only_aborts(remains(0, 0));
    }

    /// The end of the window is returned each time.
    #[test]
    fn a_few_acks_are_no_progress() {
        only_aborts(remains(99, 1000));
    }

    #[test]
    fn an_ack_of_everything_is_progress() {
        let mut pace = pace();
        let pauses: Vec<_> = (0..20).map(|_| pace.ended(remains(1, 0))).collect();
        assert!(pauses.iter().all(|pause| pause.lasts <= MINUTE / 2 && pause.aborts == 0), "{pauses:?}");
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
        let nothing = Remains { acked: 0, unacked: 0, may_have_delivered: false };
        let pauses: Vec<_> = (0..20).map(|_| pace.ended(nothing)).collect();
        assert!(pauses.iter().all(|pause| pause.lasts <= MINUTE / 2 && pause.aborts == 0), "{pauses:?}");
    }
}

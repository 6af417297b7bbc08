//! Detecting that Redis has lost accepted messages: after FLUSHALL, with an old file, or after a failover.
//!
//! Redis loses queue and ledger together, and what remains is consistent. Detection therefore needs a record outside of
//! Redis: the API keeps the reply to its last push ([`PushHistory`]), and the consumers write the counters that they read into
//! the database ([`Witness`]).

use std::time::Duration;

use crate::ledger::{Ledger, Volume};

/// How much of the consumers' looks Redis may lose before it counts as lost history. A failover loses the last moments that
/// the replica had not received. This alone is no loss of messages.
const TOLERANCE: Duration = Duration::from_secs(30);

/// Messages that a queue counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Ever pushed.
    pub accepted: u64,
    /// Ever acked.
    pub settled: u64,
}

impl From<&Ledger> for Counted {
    fn from(ledger: &Ledger) -> Self {
        Self { accepted: ledger.accepted.messages, settled: ledger.settled.messages }
    }
}

impl Counted {
    /// How many of these messages were not settled and are lost, if the queue has gone back to a moment at which it had
    /// accepted `accepted`. Messages are settled approximately in the order in which they were accepted.
    fn missing_since(self, accepted: u64) -> u64 {
        self.accepted.saturating_sub(self.settled.max(accepted))
    }
}

/// Redis has lost a part of a queue's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLoss {
    /// At most how many accepted messages are lost before they were settled. 0: every lost message was settled, or is still
    /// there.
    pub missing_messages: u64,
}

/// The counters in the reply to one producer's last push.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushHistory {
    last: Option<Counted>,
}

impl PushHistory {
    /// Whether some accepted messages were not settled when this producer last read the counters.
    pub fn is_owed(&self) -> bool {
        self.last.is_some_and(|last| last.settled < last.accepted)
    }

    /// Records the ledger between two pushes, so that messages settled since the last push do not count as unsettled.
    pub fn looked(&mut self, ledger: &Ledger) {
        let now = Counted::from(ledger);
        // The next push reports a ledger that has gone back.
        if let Some(last) = self.last.as_mut().filter(|last| now.accepted >= last.accepted) {
            // Other producers may have pushed since. No replica need have their pushes, so a failover may forget them.
            last.settled = now.settled;
        }
    }

    /// Drops the counters: the ledger has become unusable, and its counters after a repair cannot be compared with them.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Compares the ledger after a push of so many messages with the one after the previous push.
    pub fn pushed(&mut self, ledger: &Ledger, messages: u64) -> Option<HistoryLoss> {
        let now = Counted::from(ledger);
        let last = self.last.replace(now)?;
        let before_push = now.accepted.saturating_sub(messages);
        (before_push < last.accepted)
            .then(|| HistoryLoss { missing_messages: last.missing_since(before_push) })
    }
}

/// The counters of a queue at the last look, stored outside of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The number of that look.
    pub number: u64,
    /// When that was, ms since the epoch, by the clock of the consumer that looked.
    pub looked_at_ms: u64,
    /// The ledger's counters.
    pub counted: Counted,
}

/// The counters of a queue in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The ledger's counters.
    pub counted: Counted,
    /// The number of the last look that is recorded in Redis; 0 if there was none.
    pub number: u64,
    /// When that was, ms since the epoch.
    pub looked_at_ms: u64,
    /// Messages pushed until then.
    pub accepted_then: u64,
    /// Messages ever claimed.
    pub claimed: u64,
}

impl Look {
    /// Why the counters are impossible. Any program that can write the ledger can make it look as if Redis had gone back.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let volume = |messages| Volume { messages, bytes: 0 };
        let Counted { accepted, settled } = self.counted;
        let ledger =
            Ledger { accepted: volume(accepted), claimed: volume(self.claimed), settled: volume(settled) };
        ledger.contradiction()
    }
}

impl Witness {
    /// Compares the witness with counters that were read from Redis after it. A consumer records a look in Redis before it
    /// writes the witness, so Redis knew the look that the witness has.
    pub fn loss(&self, look: &Look) -> Option<HistoryLoss> {
        let tolerance_ms = u64::try_from(TOLERANCE.as_millis()).unwrap_or(u64::MAX);
        let forgot_looks =
            look.number < self.number && look.looked_at_ms.saturating_add(tolerance_ms) < self.looked_at_ms;
        if look.counted.accepted >= self.counted.accepted && !forgot_looks {
            return None;
        }
        // Pushes since then make the current counter too high. A look that the witness knows too is safe to compare.
        let then = if look.number <= self.number { look.accepted_then } else { 0 };
        let missing_messages = self.counted.missing_since(then.min(look.counted.accepted));
        Some(HistoryLoss { missing_messages })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;
    const WITNESS: Witness =
        Witness { number: 500, looked_at_ms: NOW, counted: Counted { accepted: 1000, settled: 649 } };

    fn look(accepted: u64, (number, looked_at_ms, accepted_then): (u64, u64, u64)) -> Look {
        Look { counted: Counted { accepted, settled: 0 }, number, looked_at_ms, accepted_then, claimed: 0 }
    }

    fn missing(look: &Look) -> Option<u64> {
        WITNESS.loss(look).map(|loss| loss.missing_messages)
    }

    #[test]
    fn a_queue_that_only_grows_has_lost_nothing() {
        assert_eq!(missing(&look(1000, (500, NOW, 1000))), None);
        assert_eq!(missing(&look(5000, (501, NOW + 2000, 4000))), None, "another consumer has looked since");
        assert_eq!(missing(&look(5000, (501, NOW - HOUR, 4000))), None, "one whose clock is slow");
        assert_eq!(missing(&look(1000, (499, NOW - 2000, 990))), None, "a failover forgot the look alone");
    }

    #[test]
    fn an_emptied_redis_owes_what_was_not_settled() {
        assert_eq!(missing(&look(0, (0, 0, 0))), Some(351));
        assert_eq!(missing(&look(400, (0, 0, 0))), Some(351), "with pushes since");
        assert_eq!(
            missing(&look(9000, (0, 0, 0))),
            Some(351),
            "also if these are more than there were before"
        );
    }

    #[test]
    fn an_old_file_owes_what_came_after_it() {
        assert_eq!(missing(&look(900, (40, NOW - HOUR, 890))), Some(110));
        assert_eq!(missing(&look(600, (40, NOW - HOUR, 600))), Some(351), "what was settled is not owed");
        assert_eq!(missing(&look(2000, (40, NOW - HOUR, 900))), Some(100), "overtaken by pushes since");
    }

    #[test]
    fn a_settled_history_may_be_forgotten() {
        let settled = Witness { counted: Counted { accepted: 1000, settled: 1000 }, ..WITNESS };
        let loss = settled.loss(&look(0, (0, 0, 0))).unwrap();
        assert_eq!(loss.missing_messages, 0);
    }

    #[test]
    fn a_producer_notices_with_its_next_push() {
        let ledger = |accepted, settled| {
            let volume = |messages| crate::Volume { messages, bytes: 0 };
            Ledger { accepted: volume(accepted), settled: volume(settled), ..Ledger::default() }
        };
        let mut history = PushHistory::default();
        assert_eq!(history.pushed(&ledger(10, 0), 10), None, "the first one");
        assert_eq!(history.pushed(&ledger(15, 8), 5), None);
        assert_eq!(history.pushed(&ledger(30, 8), 5), None, "another producer has pushed too");
        let loss = history.pushed(&ledger(2, 0), 2).unwrap();
        assert_eq!(loss.missing_messages, 22);
        assert_eq!(history.pushed(&ledger(3, 0), 1), None, "it is told once");
        let loss = history.pushed(&ledger(3, 0), 1).unwrap();
        assert_eq!(loss.missing_messages, 1, "a failover that lost one push");

        assert!(history.is_owed());
        history.looked(&ledger(9, 3));
        assert!(!history.is_owed());
        assert_eq!(history.pushed(&ledger(4, 3), 1), None, "a failover forgot the other producer's pushes");
        history.looked(&ledger(4, 4));
        let loss = history.pushed(&ledger(1, 0), 1).unwrap();
        assert_eq!(loss.missing_messages, 0, "an empty queue may begin anew");
    }
}

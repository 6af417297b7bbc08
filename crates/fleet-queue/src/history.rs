//! Noticing that Redis has forgotten what it had accepted: after FLUSHALL, with an old file, after a failover.
//!
//! Queue and ledger are lost together, so that what is left agrees with itself. It takes a memory outside of Redis: the API
//! remembers what its last push was told ([`PushHistory`]), and the consumers write what they see into the database
//! ([`Witness`]).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;

use crate::{Ledger, QueueError, QueueKeys, RedisLink};

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/look.lua")));

/// Redis may forget this much of the consumers' looks without a word: a failover loses the last moments of what its replica
/// had not received, and that in itself is no loss of messages.
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
    /// How many of these messages a queue owes and cannot deliver, if it has gone back to a moment at which it had accepted
    /// `accepted`. Messages are settled about in the order in which they were accepted.
    fn missing_since(self, accepted: u64) -> u64 {
        self.accepted.saturating_sub(self.settled.max(accepted))
    }
}

/// Redis has forgotten a part of a queue's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLoss {
    /// At most so many messages were accepted, not settled, and are gone. 0: what was forgotten was settled or is still
    /// there.
    pub missing_messages: u64,
}

/// What one producer was told by its last push.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushHistory {
    last: Option<Counted>,
}

impl PushHistory {
    /// Compares the ledger behind a push of so many messages with the one behind the push before.
    pub fn pushed(&mut self, ledger: &Ledger, messages: u64) -> Option<HistoryLoss> {
        let now = Counted::from(ledger);
        let last = self.last.replace(now)?;
        let before_push = now.accepted.saturating_sub(messages);
        (before_push < last.accepted)
            .then(|| HistoryLoss { missing_messages: last.missing_since(before_push) })
    }
}

/// What was known of a queue when somebody last looked, kept outside of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// When that was, ms since the epoch, by the clock of whoever looked.
    pub looked_at_ms: u64,
    /// What the ledger counted.
    pub counted: Counted,
}

/// What Redis itself knew when somebody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What the ledger counts.
    pub counted: Counted,
    /// The look before, if Redis remembers one.
    pub before: Option<Before>,
}

/// The look before, as Redis remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// When it was, ms since the epoch.
    pub looked_at_ms: u64,
    /// Messages ever pushed until then.
    pub accepted: u64,
}

impl Witness {
    /// Whether Redis, which was asked after this witness was read, has gone back. Whoever looks writes to Redis first: what
    /// the witness knows, Redis has known.
    pub fn loss(&self, look: &Look) -> Option<HistoryLoss> {
        let tolerance_ms = u64::try_from(TOLERANCE.as_millis()).unwrap_or(u64::MAX);
        let before = look.before.filter(|before| before.looked_at_ms <= self.looked_at_ms);
        let remembers = match look.before {
            Some(before) => before.looked_at_ms.saturating_add(tolerance_ms) >= self.looked_at_ms,
            None => false,
        };
        if look.counted.accepted >= self.counted.accepted && remembers {
            return None;
        }
        // Pushes since then make the counter of now too high: the look that Redis remembers is the safe side.
        let went_back_to = before.map_or(0, |before| before.accepted).min(look.counted.accepted);
        Some(HistoryLoss { missing_messages: self.counted.missing_since(went_back_to) })
    }
}

/// Looks at one queue for a [`Witness`].
#[derive(Clone, Debug)]
pub struct Lookout {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

impl Lookout {
    /// A lookout for `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// The queue's name outside of Redis.
    pub fn queue(&self) -> &str {
        self.keys.name()
    }

    /// Reads the queue's counters, and leaves in Redis that somebody looked at `now_ms` (ms since the epoch).
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn look(&self, now_ms: u64) -> Result<Look, QueueError> {
        let mut call = LOOK.prepare_invoke();
        call.key(&self.keys.ledger).arg(now_ms);
        let (accepted, settled, looked_at_ms, looked_accepted): (u64, u64, u64, u64) =
            self.link.script(&call).await?;
        let before = Before { looked_at_ms, accepted: looked_accepted };
        Ok(Look { counted: Counted { accepted, settled }, before: (looked_at_ms > 0).then_some(before) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const WITNESS: Witness = Witness { looked_at_ms: NOW, counted: Counted { accepted: 1000, settled: 649 } };

    fn look(accepted: u64, before: Option<(u64, u64)>) -> Look {
        let before = before.map(|(looked_at_ms, accepted)| Before { looked_at_ms, accepted });
        Look { counted: Counted { accepted, settled: 0 }, before }
    }

    fn missing(look: &Look) -> Option<u64> {
        WITNESS.loss(look).map(|loss| loss.missing_messages)
    }

    #[test]
    fn a_queue_that_only_grows_has_lost_nothing() {
        assert_eq!(missing(&look(1000, Some((NOW, 1000)))), None);
        assert_eq!(missing(&look(5000, Some((NOW + 2000, 4000)))), None, "another consumer has looked since");
        assert_eq!(missing(&look(1000, Some((NOW - 2000, 990)))), None, "a failover forgot the look alone");
    }

    #[test]
    fn an_emptied_redis_owes_what_was_not_settled() {
        assert_eq!(missing(&look(0, None)), Some(351));
        assert_eq!(missing(&look(400, None)), Some(351), "with pushes since");
        assert_eq!(missing(&look(9000, None)), Some(351), "also if these are more than there were before");
    }

    #[test]
    fn an_old_file_owes_what_came_after_it() {
        let hour = 3_600_000;
        assert_eq!(missing(&look(900, Some((NOW - hour, 890)))), Some(110));
        assert_eq!(missing(&look(600, Some((NOW - hour, 600)))), Some(351), "what was settled is not owed");
        assert_eq!(missing(&look(2000, Some((NOW - hour, 900)))), Some(100), "overtaken by pushes since");
    }

    #[test]
    fn a_settled_history_may_be_forgotten() {
        let settled = Witness { counted: Counted { accepted: 1000, settled: 1000 }, ..WITNESS };
        let loss = settled.loss(&look(0, None)).unwrap();
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
    }
}

//! Detecting that Redis has lost accepted messages: after FLUSHALL, with an old file, or after a failover.
//!
//! Redis loses queue and ledger together, and what remains is consistent. Detection therefore needs a record outside of
//! Redis: the API keeps the reply to its last push ([`PushHistory`]), and the consumers write the counters that they read into
//! the database ([`Witness`]).

use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{FromRedisValue, Script, Value};

use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::ledger::{self, Ledger, Volume};
use crate::link::RedisLink;

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/look.lua")));
static NOTE_LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/note_look.lua")));

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
        if self.last.is_some_and(|last| now.accepted >= last.accepted) {
            self.last = Some(now);
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
    fn contradiction(&self) -> Option<&'static str> {
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

/// Reads one queue's counters for a [`Witness`].
#[derive(Clone, Debug)]
pub struct Lookout {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

/// What the scripts return, in this order.
const FIELDS: [&str; 6] =
    ["accepted_messages", "settled_messages", "look", "looked_at_ms", "looked_accepted", "claimed_messages"];

type Fields = Vec<Value>;

impl Lookout {
    /// A lookout for `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// The queue's name outside of Redis.
    pub fn queue(&self) -> &str {
        self.keys.name()
    }

    /// Reads the counters in Redis.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. A replica is an error, because it is empty for a moment while it copies its primary. Values that are
    /// not counts are an error, too.
    pub async fn look(&self) -> Result<Look, QueueError> {
        let mut call = LOOK.prepare_invoke();
        call.key(&self.keys.ledger);
        let fields: Fields =
            self.link.script(&call).await.map_err(|error| error.on(&self.keys.ledger, "hash"))?;
        self.parse(fields)
    }

    /// Records in Redis the look after `last`, at `now_ms` (ms since the epoch), and returns it. `None`: another consumer has
    /// recorded one since.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; the look may be recorded nevertheless.
    pub async fn note(&self, last: &Look, now_ms: u64) -> Result<Option<Look>, QueueError> {
        let mut call = NOTE_LOOK.prepare_invoke();
        call.key(&self.keys.ledger).arg(last.number).arg(now_ms);
        // No retry: after a lost reply, a retry could not tell its own record from another consumer's.
        let fields: Option<Fields> = self.link.script_once(&call).await?;
        fields.map(|fields| self.parse(fields)).transpose()
    }

    /// What Redis has lost since `witness`, if anything.
    ///
    /// # Errors
    ///
    /// [`QueueError::Broken`] if there seems to be a loss and the counters contradict each other. Redis loses queue and ledger
    /// together, and what remains is consistent, so another program has written to the ledger.
    pub fn loss(&self, witness: &Witness, look: &Look) -> Result<Option<HistoryLoss>, QueueError> {
        match (witness.loss(look), look.contradiction()) {
            (Some(_loss), Some(why)) => Err(ledger::corrupt(&self.keys, why)),
            (loss, _why) => Ok(loss),
        }
    }

    fn parse(&self, fields: Fields) -> Result<Look, QueueError> {
        let mut numbers = [0; FIELDS.len()];
        for ((number, name), value) in numbers.iter_mut().zip(FIELDS).zip(fields) {
            let text = Option::<String>::from_redis_value(value).map_err(redis::RedisError::from)?;
            *number = ledger::count(&self.keys, name, text.as_deref().map(str::as_bytes))?;
        }
        let [accepted, settled, number, looked_at_ms, accepted_then, claimed] = numbers;
        let counted = Counted { accepted, settled };
        Ok(Look { counted, number, looked_at_ms, accepted_then, claimed })
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
        history.looked(&ledger(3, 3));
        assert!(!history.is_owed());
        let loss = history.pushed(&ledger(1, 0), 1).unwrap();
        assert_eq!(loss.missing_messages, 0, "an empty queue may begin anew");
    }
}

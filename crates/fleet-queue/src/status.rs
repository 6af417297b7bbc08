//! The state of a queue, for metrics, audits and operators.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError, Script, Value};
use uuid::Uuid;

use crate::broken::BrokenKey;
use crate::envelope::Envelope;
use crate::error::QueueError;
use crate::greeting;
use crate::keys::QueueKeys;
use crate::ledger::{self, Ledger, Volume};
use crate::link::RedisLink;
use crate::transaction::Transaction;

static HEADERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/headers.lua")));
static HELD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/held.lua")));

/// A queue at one moment. One transaction reads everything except the times and the types, which are read after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Keys that another program has overwritten. The values that they should contain are 0 or absent here.
    pub broken: Vec<BrokenKey>,
    /// Pushed since the queue exists.
    pub accepted: Volume,
    /// Claimed since the queue exists.
    pub claimed: Volume,
    /// Acknowledged since the queue exists.
    pub settled: Volume,
    /// Messages in the list.
    pub waiting_messages: u64,
    /// Claimed batches that a consumer processes, or that wait for a takeover.
    pub leases: u64,
    /// Claimed batches that one database has stored, and that wait for the other database.
    pub parked: u64,
    /// When the head of the list was received.
    pub oldest_waiting: Option<Timestamp>,
    /// When the head of the claimed batch that expires first was received.
    pub oldest_leased: Option<Timestamp>,
    /// When the head of the parked batch that is due first was received.
    pub oldest_parked: Option<Timestamp>,
}

impl QueueStatus {
    /// Its counters.
    pub fn ledger(&self) -> Ledger {
        Ledger { accepted: self.accepted, claimed: self.claimed, settled: self.settled }
    }

    /// Accepted but not settled: waiting, leased and parked. If the ledger is unusable, only the waiting messages.
    pub fn backlog(&self) -> Volume {
        if self.has_ledger() {
            return self.ledger().backlog();
        }
        Volume { messages: self.waiting_messages, bytes: self.ledger().backlog().bytes }
    }

    /// Whether the ledger is usable.
    pub fn has_ledger(&self) -> bool {
        !self.broken.iter().any(BrokenKey::is_ledger)
    }

    /// Claimed but not settled.
    pub fn leased(&self) -> Volume {
        self.ledger().leased()
    }

    /// Whether no key is broken and the ledger matches the keys: as many messages wait as the list contains, and there are
    /// claimed batches if and only if the ledger says so.
    pub fn balances(&self) -> bool {
        let (accepted, claimed, settled) =
            (self.accepted.messages, self.claimed.messages, self.settled.messages);
        self.broken.is_empty()
            && claimed >= settled
            && accepted.checked_sub(claimed) == Some(self.waiting_messages)
            && (self.leases + self.parked == 0) == (claimed == settled)
    }
}

/// The messages of a queue's claimed batches, counted one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages in batches that have an owner's record.
    pub messages: u64,
    /// Claimed and not settled according to the ledger, read at the same moment.
    pub claimed_messages: u64,
    /// Keys of claimed batches that are not lists; at most ten.
    pub broken: Vec<BrokenKey>,
}

/// Reads one queue's [`QueueStatus`].
#[derive(Clone, Debug)]
pub struct Observer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

impl Observer {
    /// An observer of `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Reads the status. A broken key is no error: the other keys are still read.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. A replica is an error, because its data may be old.
    pub async fn status(&self) -> Result<QueueStatus, QueueError> {
        let keys = &self.keys;
        let transaction = &status_transaction(keys);
        let run = |mut connection: MultiplexedConnection| async move {
            // Reads work on a replica too. Without this check, the link would stay on a demoted primary.
            greeting::require_primary(&mut connection).await?;
            transaction.replies(&mut connection).await
        };
        let mut replies = self.link.run(run).await?.into_iter();
        let counters = ledger::parse_unchecked(keys, replies.next().unwrap_or_default());
        let mut replies = Replies { replies, broken: Vec::new() };
        let ledger = replies.unless_broken(counters)?;
        let waiting_messages = replies.next(&keys.queue, "list")?;
        let (leases, parked) = (replies.next(&keys.leases, "zset")?, replies.next(&keys.parked, "zset")?);
        let first_leased: Vec<String> = replies.next(&keys.leases, "zset")?;
        let first_parked: Vec<String> = replies.next(&keys.parked, "zset")?;
        let _no_owner: Option<String> = replies.next(&keys.owners, "hash")?;
        let look = ledger::check_look(keys, replies.replies.next().unwrap_or_default());
        replies.unless_broken(look)?;
        let mut broken = replies.broken;
        if let Some(why) = ledger.contradiction() {
            broken.push(BrokenKey::Counters { key: keys.ledger.clone(), why: why.to_owned() });
        }
        let [oldest_waiting, oldest_leased, oldest_parked] =
            self.oldest(first_leased.first(), first_parked.first(), &mut broken).await?;
        let Ledger { accepted, claimed, settled } = ledger;
        Ok(QueueStatus {
            broken: self.with_types(broken).await?,
            accepted,
            claimed,
            settled,
            waiting_messages,
            leases,
            parked,
            oldest_waiting,
            oldest_leased,
            oldest_parked,
        })
    }

    /// Counts the messages of all claimed batches in one script. It is for audits, and too slow for every second. `None`: the
    /// user may not count them.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn held(&self) -> Result<Option<Held>, QueueError> {
        let mut call = HELD.prepare_invoke();
        call.key(&self.keys.owners).key(&self.keys.ledger).arg(self.keys.lease_prefix());
        let counts: Option<(u64, u64, Vec<String>)> =
            self.link.script_if_allowed(&call, &["HKEYS"], &self.keys.owners).await?;
        let Some((messages, claimed_messages, lists)) = counts else { return Ok(None) };
        let broken = lists.into_iter().map(|key| BrokenKey::Type { key, expected: "list", found: None });
        Ok(Some(Held { messages, claimed_messages, broken: self.with_types(broken.collect()).await? }))
    }

    /// Reads the types of broken keys, and drops those that were repaired meanwhile.
    async fn with_types(&self, mut broken: Vec<BrokenKey>) -> Result<Vec<BrokenKey>, QueueError> {
        for one in &mut broken {
            if let BrokenKey::Type { key, found, .. } = one {
                *found = self.link.type_of(key).await?;
            }
        }
        broken.retain(BrokenKey::is_still_broken);
        Ok(broken)
    }

    /// When the heads of the queue, of a lease and of a parked batch were received. Reads only their header lines, because
    /// bodies are large.
    async fn oldest(
        &self,
        leased: Option<&String>,
        parked: Option<&String>,
        broken: &mut Vec<BrokenKey>,
    ) -> Result<[Option<Timestamp>; 3], QueueError> {
        let mut call = HEADERS.prepare_invoke();
        // Without a batch, ask for a key that does not exist.
        let lease = |id: Option<&String>| {
            let id = id.and_then(|id| id.parse().ok());
            self.keys.lease(id.unwrap_or_else(Uuid::nil))
        };
        let lists = [self.keys.queue.clone(), lease(leased), lease(parked)];
        for list in &lists {
            call.key(list);
        }
        let headers: [Value; 3] = self.link.script(&call).await?;
        for (list, header) in lists.into_iter().zip(&headers) {
            // The queue itself may be in `broken` already.
            if matches!(header, Value::Int(_)) && broken.iter().all(|broken| broken.key() != list) {
                broken.push(BrokenKey::Type { key: list, expected: "list", found: None });
            }
        }
        Ok(headers
            .map(|header| if let Value::BulkString(header) = header { received_at(&header) } else { None }))
    }
}

/// The commands of the transaction, in the order in which [`Observer::status`] reads the replies.
fn status_transaction(keys: &QueueKeys) -> Transaction {
    let command = |name: &str, key: &str| {
        let mut command = redis::cmd(name);
        command.arg(key);
        command
    };
    let first = |key: &str| -> Cmd {
        let mut command = command("ZRANGE", key);
        command.arg(0).arg(0);
        command
    };
    // Only checks that the key is a hash. No batch has this id.
    let mut owner = command("HGET", &keys.owners);
    owner.arg("");
    Transaction::new([
        ledger::read(keys),
        command("LLEN", &keys.queue),
        command("ZCARD", &keys.leases),
        command("ZCARD", &keys.parked),
        first(&keys.leases),
        first(&keys.parked),
        owner,
        ledger::read_look(keys),
    ])
}

/// The remaining replies of a transaction, and the broken keys found so far.
struct Replies {
    replies: std::vec::IntoIter<Value>,
    broken: Vec<BrokenKey>,
}

impl Replies {
    /// The next reply, which belongs to this key.
    fn next<T: Default + FromRedisValue>(
        &mut self,
        key: &str,
        expected: &'static str,
    ) -> Result<T, QueueError> {
        let reply = self.replies.next().unwrap_or_default().extract_error();
        let read = reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        self.unless_broken(read.map_err(|error: RedisError| QueueError::from(error).on(key, expected)))
    }

    /// The default value for a broken key, which it records.
    fn unless_broken<T: Default>(&mut self, read: Result<T, QueueError>) -> Result<T, QueueError> {
        match read {
            Err(QueueError::Broken(broken)) => {
                if self.broken.iter().all(|known| known.key() != broken.key()) {
                    self.broken.push(broken);
                }
                Ok(T::default())
            }
            read => read,
        }
    }
}

fn received_at(header: &[u8]) -> Option<Timestamp> {
    Envelope::decode(header).ok().map(|envelope| envelope.received_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_has_settled_more_than_it_has_claimed_does_not_balance() {
        let volume = |messages| Volume { messages, bytes: 0 };
        let good = QueueStatus {
            accepted: volume(3),
            claimed: volume(3),
            settled: volume(3),
            ..QueueStatus::default()
        };
        assert!(good.balances());
        assert!(!QueueStatus { settled: volume(4), ..good.clone() }.balances());
        let endless = QueueStatus { claimed: volume(u64::MAX), waiting_messages: u64::MAX, ..good.clone() };
        assert!(!endless.balances());
        let parked = QueueStatus { settled: volume(2), parked: 1, ..good };
        assert!(parked.balances());
        assert!(!QueueStatus { parked: 0, ..parked }.balances());
    }
}

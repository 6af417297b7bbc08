//! What a queue holds, for metrics, audits and people.

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

/// A queue at one moment: everything was read in one transaction, except the times and types, which were read after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Keys that something else has written to. What they would say is 0 or absent here.
    pub broken: Vec<BrokenKey>,
    /// Ever pushed.
    pub accepted: Volume,
    /// Ever claimed.
    pub claimed: Volume,
    /// Ever acked.
    pub settled: Volume,
    /// Messages in the list.
    pub waiting_messages: u64,
    /// Claimed batches that a consumer works on, or that wait for a takeover.
    pub leases: u64,
    /// Claimed batches of which one database has its part, and which wait for the other database.
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

    /// Accepted but not settled: waiting, leased and parked. Without a ledger that can be: the messages that wait, at least.
    pub fn backlog(&self) -> Volume {
        if self.has_ledger() {
            return self.ledger().backlog();
        }
        Volume { messages: self.waiting_messages, bytes: self.ledger().backlog().bytes }
    }

    /// Its counters can be true.
    pub fn has_ledger(&self) -> bool {
        !self.broken.iter().any(BrokenKey::is_ledger)
    }

    /// Claimed but not settled.
    pub fn leased(&self) -> Volume {
        self.ledger().leased()
    }

    /// What the ledger says is waiting is what the list holds, there are claimed batches if it says so, and no key is broken.
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
    /// What the ledger says is claimed and not settled, read at the same moment.
    pub claimed_messages: u64,
    /// Lists of claimed batches that have another type; at most ten.
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
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Reads the status. Broken keys are no error: what the others say is read all the same.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; a server that has become a replica is one, as what it holds may be old.
    pub async fn status(&self) -> Result<QueueStatus, QueueError> {
        let keys = &self.keys;
        let transaction = &status_transaction(keys);
        let run = |mut connection: MultiplexedConnection| async move {
            // Reads work on a replica too: a primary that was demoted would be watched for ever.
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
        let _nobodys: Option<String> = replies.next(&keys.owners, "hash")?;
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

    /// Counts the messages of all claimed batches, in one script: for audits, not for every second.
    /// `None`: the user may not count them.
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

    /// Asks which types they have instead. Somebody may have repaired one meanwhile.
    async fn with_types(&self, mut broken: Vec<BrokenKey>) -> Result<Vec<BrokenKey>, QueueError> {
        for one in &mut broken {
            if let BrokenKey::Type { key, found, .. } = one {
                *found = self.link.type_of(key).await?;
            }
        }
        broken.retain(BrokenKey::is_still_broken);
        Ok(broken)
    }

    /// When the heads of the queue, of a lease and of a parked batch were received. Reads their header lines alone: bodies
    /// are large.
    async fn oldest(
        &self,
        leased: Option<&String>,
        parked: Option<&String>,
        broken: &mut Vec<BrokenKey>,
    ) -> Result<[Option<Timestamp>; 3], QueueError> {
        let mut call = HEADERS.prepare_invoke();
        // A key that is not there stands for no batch.
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
            // The queue itself may be known to be broken already.
            if matches!(header, Value::Int(_)) && broken.iter().all(|broken| broken.key() != list) {
                broken.push(BrokenKey::Type { key: list, expected: "list", found: None });
            }
        }
        Ok(headers
            .map(|header| if let Value::BulkString(header) = header { received_at(&header) } else { None }))
    }
}

/// Everything that is read at one moment, in the order in which [`Observer::status`] takes the replies.
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
    // Whether it is a hash: no batch has this id.
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

/// The replies of a transaction, and the keys that they show to be broken.
struct Replies {
    replies: std::vec::IntoIter<Value>,
    broken: Vec<BrokenKey>,
}

impl Replies {
    /// The next reply, which is about this key.
    fn next<T: Default + FromRedisValue>(
        &mut self,
        key: &str,
        expected: &'static str,
    ) -> Result<T, QueueError> {
        let reply = self.replies.next().unwrap_or_default().extract_error();
        let read = reply.and_then(|reply| Ok(redis::from_redis_value(reply)?));
        self.unless_broken(read.map_err(|error: RedisError| QueueError::from(error).on(key, expected)))
    }

    /// Nothing, for a key that is broken.
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

//! What a queue holds, for metrics, audits and people.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Script};
use uuid::Uuid;

use crate::ledger::{self, Ledger, Volume};
use crate::transaction::Transaction;
use crate::{Envelope, QueueError, QueueKeys, RedisLink, greeting};

static HEADERS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/headers.lua")));
static HELD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/held.lua")));

/// A queue at one moment: everything was read in one transaction, except the times, which were read after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
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

    /// Accepted but not settled: waiting, leased and parked.
    pub fn backlog(&self) -> Volume {
        self.ledger().backlog()
    }

    /// Claimed but not settled.
    pub fn leased(&self) -> Volume {
        self.ledger().leased()
    }

    /// What the ledger says is waiting is what the list holds, and there are claimed batches if it says so.
    pub fn balances(&self) -> bool {
        let (accepted, claimed, settled) =
            (self.accepted.messages, self.claimed.messages, self.settled.messages);
        claimed >= settled
            && accepted == claimed + self.waiting_messages
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
}

/// Reads one queue's [`QueueStatus`].
#[derive(Clone, Debug)]
pub struct Observer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

type Counts = (ledger::Fields, u64, u64, u64, Vec<String>, Vec<String>);

impl Observer {
    /// An observer of `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Reads the status.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; a server that has become a replica is one, as what it holds may be old.
    pub async fn status(&self) -> Result<QueueStatus, QueueError> {
        let keys = &self.keys;
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
        let transaction = Transaction::new([
            ledger::read(keys),
            command("LLEN", &keys.queue),
            command("ZCARD", &keys.leases),
            command("ZCARD", &keys.parked),
            first(&keys.leases),
            first(&keys.parked),
        ]);
        let transaction = &transaction;
        let run = |mut connection: MultiplexedConnection| async move {
            // Reads work on a replica too: a primary that was demoted would be watched for ever.
            greeting::require_primary(&mut connection).await?;
            transaction.query::<Counts>(&mut connection).await
        };
        let (ledger, waiting_messages, leases, parked, first_leased, first_parked) =
            self.link.run(run).await?;
        let Ledger { accepted, claimed, settled } = ledger.into();
        let [oldest_waiting, oldest_leased, oldest_parked] =
            self.oldest(first_leased.first(), first_parked.first()).await?;
        Ok(QueueStatus {
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
        let counts: Option<(u64, u64)> = self.link.script_if_allowed(&call).await?;
        Ok(counts.map(|(messages, claimed_messages)| Held { messages, claimed_messages }))
    }

    /// When the heads of the queue, of a lease and of a parked batch were received. Reads their header lines alone: bodies
    /// are large.
    async fn oldest(
        &self,
        leased: Option<&String>,
        parked: Option<&String>,
    ) -> Result<[Option<Timestamp>; 3], QueueError> {
        let mut call = HEADERS.prepare_invoke();
        // A key that is not there stands for no batch.
        let lease = |id: Option<&String>| {
            let id = id.and_then(|id| id.parse().ok());
            self.keys.lease(id.unwrap_or_else(Uuid::nil))
        };
        call.key(&self.keys.queue).key(lease(leased)).key(lease(parked));
        let headers: [Option<Vec<u8>>; 3] = self.link.script(&call).await?;
        Ok(headers.map(|header| received_at(&header?)))
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
        assert!(!QueueStatus { settled: volume(4), ..good }.balances());
        let parked = QueueStatus { settled: volume(2), parked: 1, ..good };
        assert!(parked.balances());
        assert!(!QueueStatus { parked: 0, ..parked }.balances());
    }
}

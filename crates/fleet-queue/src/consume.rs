//! The consumer's side: claim, extend, take over, mark, release, ack.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use redis::{Script, ScriptInvocation};
use uuid::Uuid;

use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::lease::{ClaimLimits, Lease, Mark};
use crate::link::RedisLink;
use crate::transaction::Transaction;

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/claim.lua")));
static TAKEOVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/takeover.lua")));
static EXTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/extend.lua")));
static MARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/mark.lua")));
static PARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/park.lua")));
static RECLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/reclaim.lua")));
static ACK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/ack.lua")));

/// So many members that are no id, and that nobody here has made, may stand in front of a due batch and not keep it from its
/// next owner.
const MOST_FOREIGN: usize = 7;

/// Takes batches from one queue.
#[derive(Clone, Debug)]
pub struct Consumer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
}

impl Consumer {
    /// A consumer of `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: &str) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue) }
    }

    /// Claims the head of the queue as a new batch; `None` if the queue is empty. Give every claim an `id` of its own.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. If no reply came, [`Consumer::claim_again`] tells whether there is a batch.
    pub async fn claim(
        &self,
        id: Uuid,
        token: Uuid,
        limits: ClaimLimits,
    ) -> Result<Option<Lease>, QueueError> {
        let call = self.claim_call(id, token, limits, "first");
        // Once: had the first try gone through and its batch been settled since, a second would make another batch.
        lease(id, token, self.link.script_once(&call).await?)
    }

    /// The batch of an earlier [`Consumer::claim`] with this `id` and `token`; `None` if that claimed nothing, or if the
    /// batch belongs to another consumer by now. Never makes a new batch: an id must not name two.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; repeat it.
    pub async fn claim_again(
        &self,
        id: Uuid,
        token: Uuid,
        limits: ClaimLimits,
    ) -> Result<Option<Lease>, QueueError> {
        self.batch(id, token, &self.claim_call(id, token, limits, "again")).await
    }

    fn claim_call(
        &self,
        id: Uuid,
        token: Uuid,
        limits: ClaimLimits,
        which: &str,
    ) -> ScriptInvocation<'static> {
        let keys = &self.keys;
        let mut call = CLAIM.prepare_invoke();
        call.key(&keys.queue).key(keys.lease(id)).key(&keys.leases).key(&keys.owners).key(&keys.ledger);
        call.arg(id.to_string()).arg(token.to_string());
        call.arg(limits.max_messages).arg(limits.max_bytes).arg(millis(limits.lease)).arg(which);
        call
    }

    /// Makes the longest expired lease the caller's, if there is one; the batch is the one its last owner had.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. If no reply came, the lease may be the caller's: use [`Consumer::due`] and
    /// [`Consumer::take_over_lease`] where that matters.
    pub async fn take_over_expired(&self, token: Uuid, lease: Duration) -> Result<Option<Lease>, QueueError> {
        match self.due().await?.expired {
            Some(id) => self.take_over_lease(id, token, lease).await,
            None => Ok(None),
        }
    }

    /// Makes the lease or parked batch `id` the caller's, marked for parsing; `None` if it is not due, or is gone.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. Repeat the call with the same `token`: if the first one went through and only its reply was
    /// lost, the batch comes back.
    pub async fn take_over_lease(
        &self,
        id: Uuid,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        let mut call = TAKEOVER.prepare_invoke();
        call.key(self.keys.lease(id)).key(&self.keys.leases).key(&self.keys.parked).key(&self.keys.owners);
        call.arg(id.to_string()).arg(token.to_string()).arg(millis(lease));
        self.batch(id, token, &call).await
    }

    /// The heartbeat: the lease is good for another `lease` from now. `false`: another consumer has taken it over.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn extend(&self, lease: &Lease, duration: Duration) -> Result<bool, QueueError> {
        let mut call = EXTEND.prepare_invoke();
        call.key(&self.keys.leases).key(&self.keys.owners);
        call.arg(lease.id.to_string()).arg(lease.token.to_string()).arg(millis(duration));
        Ok(self.count(&call).await? == 1)
    }

    /// Notes what the owner is about to do. `false`: another consumer has taken the batch over.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn mark(&self, lease: &Lease, mark: Mark) -> Result<bool, QueueError> {
        let mut call = MARK.prepare_invoke();
        call.key(&self.keys.owners);
        call.arg(lease.id.to_string()).arg(lease.token.to_string()).arg(mark.encode());
        Ok(self.count(&call).await? == 1)
    }

    /// Gives the batch up, whole, for the next owner to take over at once; a deploy does not count against it.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; the lease then simply runs out.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        if self.mark(lease, Mark::Clear).await? {
            self.extend(lease, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Sets the batch aside until `delay` from now: it stays claimed, belongs to nobody, and is not marked. `false`: another
    /// consumer has taken it over.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; repeat it.
    pub async fn park(&self, lease: &Lease, delay: Duration) -> Result<bool, QueueError> {
        let mut call = PARK.prepare_invoke();
        call.key(&self.keys.leases).key(&self.keys.parked).key(&self.keys.owners);
        call.arg(lease.id.to_string()).arg(lease.token.to_string());
        call.arg(Mark::Clear.encode()).arg(millis(delay));
        Ok(self.count(&call).await? == 1)
    }

    /// The batch is stored; forgets it and returns how many messages that settled: none if another consumer has
    /// taken it over, or on a second ack.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; repeat it.
    pub async fn ack(&self, lease: &Lease) -> Result<u64, QueueError> {
        let mut call = ACK.prepare_invoke();
        call.key(self.keys.lease(lease.id))
            .key(&self.keys.leases)
            .key(&self.keys.owners)
            .key(&self.keys.ledger);
        call.arg(lease.id.to_string()).arg(lease.token.to_string());
        self.count(&call).await
    }

    /// What waits for an owner.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn due(&self) -> Result<Due, QueueError> {
        let keys = &self.keys;
        // The script judges by Redis' clock; this only proposes what is due first.
        let first = |key: &str| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(key).arg(0).arg(MOST_FOREIGN).arg("WITHSCORES");
            command
        };
        let transaction = Transaction::new([first(&keys.leases), first(&keys.parked), redis::cmd("TIME")]);
        let (leases, parked, (seconds, micros)): (First, First, (f64, f64)) =
            self.link.transaction(&transaction).await?;
        let now_ms = (seconds * 1000.0) + (micros / 1000.0);
        let due = |first: First| {
            let mut due = first.into_iter().take_while(|(_id, due_ms)| *due_ms <= now_ms);
            due.find_map(|(id, _due_ms)| id.parse().ok())
        };
        Ok(Due { expired: due(leases), parked: due(parked) })
    }

    /// Lets batches that have an owner's record and no expiry expire now, and returns how many there were. There are none
    /// unless Redis has lost a part of its history. `None`: the user may not look for them.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn reclaim(&self) -> Result<Option<u64>, QueueError> {
        let mut call = RECLAIM.prepare_invoke();
        call.key(&self.keys.leases).key(&self.keys.parked).key(&self.keys.owners);
        self.link.script_if_allowed(&call, &["HLEN", "HKEYS"], &self.keys.owners).await
    }

    async fn batch(
        &self,
        id: Uuid,
        token: Uuid,
        call: &ScriptInvocation<'_>,
    ) -> Result<Option<Lease>, QueueError> {
        lease(id, token, self.link.script(call).await?)
    }

    async fn count(&self, call: &ScriptInvocation<'_>) -> Result<u64, QueueError> {
        self.link.script(call).await
    }
}

/// The first members of a sorted set, with their scores.
type First = Vec<(String, f64)>;

/// What waits for an owner; of each kind the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// A batch whose lease has run out.
    pub expired: Option<Uuid>,
    /// A batch that was set aside until now.
    pub parked: Option<Uuid>,
}

/// Reads the reply of a script that hands a batch over.
fn lease(id: Uuid, token: Uuid, reply: Option<Vec<Bytes>>) -> Result<Option<Lease>, QueueError> {
    match reply {
        Some(reply) if !reply.is_empty() => Lease::from_reply(id, token, reply).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

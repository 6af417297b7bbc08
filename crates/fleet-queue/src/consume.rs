//! The consumer's operations: claim, extend, take over, mark, park, release, acknowledge.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, ScriptInvocation};
use uuid::Uuid;

use crate::claim_confirmer::ClaimConfirmer;
use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::lease::{ClaimLimits, Lease, Mark};
use crate::link::{Line, RedisLink};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/claim.lua")));
static TAKEOVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/takeover.lua")));
static EXTEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/extend.lua")));
static MARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/mark.lua")));
static PARK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/park.lua")));
static RECLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/reclaim.lua")));
static ACK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/ack.lua")));

/// How many members that are not lease ids, written by another program, are skipped to find a due batch.
const MOST_FOREIGN: usize = 7;

/// Messages of a large batch that one command reads.
const READ_AT_ONCE: usize = 1_000;

/// Takes batches from one queue.
#[derive(Clone, Debug)]
pub struct Consumer {
    link: Arc<RedisLink>,
    keys: QueueKeys,
    /// Absent if claims wait for no replica.
    confirmer: Option<Arc<ClaimConfirmer>>,
}

impl Consumer {
    /// A consumer of `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue), confirmer: None }
    }

    /// Lets each claim and takeover wait until this many replicas have it, so that the databases store no batch that a failover
    /// forgets. 0 waits for none. If the replicas confirm nothing for 30 s, claims go on without them.
    ///
    /// WAIT must follow the claim on its connection. So while replicas are slow, the queue's heartbeats and acknowledgements wait
    /// behind it, up to two thirds of the link's timeout for each claim. A lease lasts much longer.
    #[must_use]
    pub fn confirmed_by(self, replicas: u32) -> Self {
        let confirmer = (replicas > 0).then(|| Arc::new(ClaimConfirmer::new(replicas, self.link.timeout())));
        Self { confirmer, ..self }
    }

    /// Claims the head of the queue as a new batch. `None` if the queue is empty. Give every claim a new `id`.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. If there was no reply, or no confirmation ([`QueueError::Unconfirmed`]), [`Consumer::claim_again`]
    /// returns the batch, if one was claimed.
    pub async fn claim(
        &self,
        id: Uuid,
        token: Uuid,
        limits: ClaimLimits,
    ) -> Result<Option<Lease>, QueueError> {
        let (call, list) = (&self.claim_call(id, token, limits, "first"), &self.keys.lease(id));
        let run = |line: Line| async move {
            let mut connection = line.connection.clone();
            let mut reply: Option<Vec<Bytes>> = call.invoke_async(&mut connection).await?;
            if let Some(batch) = reply.as_mut().filter(|batch| batch.len() == 1) {
                read_list(list, limits.max_messages, &mut connection, batch).await?;
            }
            Ok((reply, line))
        };
        // No retry: if Redis ran the first call and the batch was settled since, a second call would claim another batch.
        let (reply, line) = self.link.run_once_on_line(run).await?;
        self.confirmed(batch_of(id, token, reply)?, &line).await
    }

    /// The batch of an earlier [`Consumer::claim`] with this `id` and `token`. `None` if that call claimed nothing, or if
    /// another consumer has taken the batch over. Never claims a new batch, because an id must not name two batches.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; retry it.
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

    /// Takes over the lease that expired first, with its batch. `None` if none has expired.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. If there was no reply, the caller may own the lease: where that matters, use [`Consumer::due`] and
    /// [`Consumer::take_over_lease`].
    pub async fn take_over_expired(&self, token: Uuid, lease: Duration) -> Result<Option<Lease>, QueueError> {
        match self.due().await?.expired {
            Some(id) => self.take_over_lease(id, token, lease).await,
            None => Ok(None),
        }
    }

    /// Takes over the lease or parked batch `id`, and marks it for parsing. `None` if it is not due, or no longer exists.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. Retry with the same `token`: if Redis ran the first call and only the reply was lost, the retry
    /// returns the batch.
    pub async fn take_over_lease(
        &self,
        id: Uuid,
        token: Uuid,
        lease: Duration,
    ) -> Result<Option<Lease>, QueueError> {
        let mut call = TAKEOVER.prepare_invoke();
        let keys = &self.keys;
        call.key(keys.lease(id)).key(&keys.leases).key(&keys.parked).key(&keys.owners).key(&keys.ledger);
        call.arg(id.to_string()).arg(token.to_string()).arg(millis(lease));
        self.batch(id, token, &call).await
    }

    /// The heartbeat: the lease expires `duration` from now. `false`: another consumer has taken it over.
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

    /// Records what the owner is about to do. `false`: another consumer has taken the batch over.
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

    /// Releases the batch, so that another consumer can take it over at once. It is not suspected because of that.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; the lease then expires by itself.
    pub async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        if self.mark(lease, Mark::Clear).await? {
            self.extend(lease, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Parks the batch until `delay` from now: it stays claimed, has no owner, and is not marked. `false`: another consumer has
    /// taken it over.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; retry it.
    pub async fn park(&self, lease: &Lease, delay: Duration) -> Result<bool, QueueError> {
        let mut call = PARK.prepare_invoke();
        call.key(&self.keys.leases).key(&self.keys.parked).key(&self.keys.owners);
        call.arg(lease.id.to_string()).arg(lease.token.to_string());
        call.arg(Mark::Clear.encode()).arg(millis(delay));
        Ok(self.count(&call).await? == 1)
    }

    /// Acknowledges a stored batch: removes it and returns how many messages that settled. 0 if another consumer has taken it
    /// over, on a second ack, or if the batch has other messages than the lease: then the batch stays, and a consumer takes it over
    /// when its lease expires.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; retry it.
    pub async fn ack(&self, lease: &Lease) -> Result<u64, QueueError> {
        let mut call = ACK.prepare_invoke();
        call.key(self.keys.lease(lease.id))
            .key(&self.keys.leases)
            .key(&self.keys.owners)
            .key(&self.keys.ledger);
        call.arg(lease.id.to_string()).arg(lease.token.to_string());
        call.arg(lease.items.len()).arg(lease.bytes());
        self.count(&call).await
    }

    /// The batches that wait for an owner.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn due(&self) -> Result<Due, QueueError> {
        let keys = &self.keys;
        // This only proposes a batch. The script decides by Redis' clock whether it is due.
        let first = |key: &str| {
            let mut command = redis::cmd("ZRANGE");
            command.arg(key).arg(0).arg(MOST_FOREIGN).arg("WITHSCORES");
            command
        };
        // Not a transaction: a full Redis 7.0 refuses to queue any command, and then no batch would ever be claimed.
        let mut reads = redis::pipe();
        reads.add_command(first(&keys.leases)).add_command(first(&keys.parked)).cmd("TIME");
        let reads = &reads;
        let (leases, parked, (seconds, micros)): (First, First, (f64, f64)) =
            self.link.run(|mut connection| async move { reads.query_async(&mut connection).await }).await?;
        let now_ms = (seconds * 1000.0) + (micros / 1000.0);
        let due = |first: First| {
            let mut due = first.into_iter().take_while(|(_id, due_ms)| *due_ms <= now_ms);
            due.find_map(|(id, _due_ms)| id.parse().ok())
        };
        Ok(Due { expired: due(leases), parked: due(parked) })
    }

    /// Makes batches that have an owner's record and no expiry expire now, and returns how many there were. There are none
    /// unless Redis has lost a part of its history. `None`: the user may not search for them.
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
        let run = |line: Line| async move {
            let reply = call.invoke_async(&mut line.connection.clone()).await?;
            Ok((reply, line))
        };
        let (reply, line) = self.link.run_on_line(run).await?;
        self.confirmed(batch_of(id, token, reply)?, &line).await
    }

    /// The batch, once replicas know that this consumer has it.
    async fn confirmed(&self, lease: Option<Lease>, line: &Line) -> Result<Option<Lease>, QueueError> {
        let (Some(_lease), Some(confirmer)) = (&lease, &self.confirmer) else { return Ok(lease) };
        let confirmed = confirmer.confirm(line).await;
        if confirmed.is_err() {
            // Its server may not be the primary any more.
            self.link.leave(line.generation).await;
        }
        confirmed.map(|()| lease)
    }

    async fn count(&self, call: &ScriptInvocation<'_>) -> Result<u64, QueueError> {
        self.link.script(call).await
    }
}

/// Appends the messages of a list, which are at most so many, one call after the other: Redis does not keep all of a large reply in
/// memory, and serves others in between.
async fn read_list(
    list: &str,
    messages: usize,
    connection: &mut MultiplexedConnection,
    batch: &mut Vec<Bytes>,
) -> RedisResult<()> {
    for first in (0..messages).step_by(READ_AT_ONCE) {
        let mut read = redis::cmd("LRANGE");
        read.arg(list).arg(first).arg(first + READ_AT_ONCE - 1);
        let piece: Vec<Bytes> = read.query_async(connection).await?;
        let is_last = piece.len() < READ_AT_ONCE;
        batch.extend(piece);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// The first members of a sorted set, with their scores.
type First = Vec<(String, f64)>;

/// The first batch of each kind that waits for an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// A batch whose lease has expired.
    pub expired: Option<Uuid>,
    /// A parked batch that is due.
    pub parked: Option<Uuid>,
}

/// Parses the reply of a script that returns a batch.
fn batch_of(id: Uuid, token: Uuid, reply: Option<Vec<Bytes>>) -> Result<Option<Lease>, QueueError> {
    match reply {
        Some(reply) if !reply.is_empty() => Lease::from_reply(id, token, reply).map(Some),
        Some(_) | None => Ok(None),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

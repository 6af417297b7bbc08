//! Reads the counters of a queue for its witness.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};

use redis::{ErrorKind, FromRedisValue, Script, ServerErrorKind, Value};

use crate::confirmer::Confirmer;
use crate::error::QueueError;
use crate::history::{Counted, HistoryLoss, Look, Witness};
use crate::keys::QueueKeys;
use crate::ledger;
use crate::link::{Line, RedisLink};

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/look.lua")));
static NOTE_LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/note_look.lua")));

/// Reads one queue's counters for a [`Witness`].
#[derive(Clone, Debug)]
pub struct Lookout {
    link: Arc<RedisLink>,
    keys: QueueKeys,
    /// Absent if pushes wait for no replica.
    confirmer: Option<Arc<Confirmer>>,
}

/// What the scripts return, in this order.
const FIELDS: [&str; 6] =
    ["accepted_messages", "settled_messages", "look", "looked_at_ms", "looked_accepted", "claimed_messages"];

type Fields = Vec<Value>;

impl Lookout {
    /// A lookout for `queue` under the key prefix `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, queue: impl Display) -> Self {
        Self { link, keys: QueueKeys::new(prefix, queue), confirmer: None }
    }

    /// For a queue whose pushes this many replicas confirm. Then [`Lookout::note`] returns only counters that so many replicas
    /// have, because a failover forgets the others: those of pushes that were never confirmed.
    #[must_use]
    pub fn confirmed_by(self, replicas: u32) -> Self {
        let confirmer = Confirmer::for_link(&self.link, replicas);
        Self { confirmer, ..self }
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
    /// recorded one since, or too few replicas have confirmed it.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; the look may be recorded nevertheless.
    pub async fn note(&self, last: &Look, now_ms: u64) -> Result<Option<Look>, QueueError> {
        let mut call = NOTE_LOOK.prepare_invoke();
        call.key(&self.keys.ledger).arg(last.number).arg(now_ms);
        // No retry: after a lost reply, a retry could not tell its own record from another consumer's.
        let (fields, line): (Option<Fields>, Line) = self.link.script_once_on_line(&call).await?;
        let Some(look) = fields.map(|fields| self.parse(fields)).transpose()? else { return Ok(None) };
        Ok(self.is_confirmed(&line).await?.then_some(look))
    }

    /// Whether replicas have what was last written on this connection. Also if the user may not ask: a witness that is too new
    /// may cause a false alarm after a failover, but without a witness no loss is noticed.
    async fn is_confirmed(&self, line: &Line) -> Result<bool, QueueError> {
        let Some(confirmer) = &self.confirmer else { return Ok(true) };
        let timeout = self.link.timeout();
        let mut connection = line.connection.clone();
        match tokio::time::timeout(timeout, confirmer.ask(&mut connection)).await {
            Ok(Ok(found)) => Ok(found.is_complete()),
            Ok(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(true),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(QueueError::Timeout(timeout)),
        }
    }

    /// Whether the counters that this link reads are those of the primary. After a failover an old primary may accept reads and
    /// writes for a while, with counters that are behind. Its replicas no longer confirm writes.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unconfirmed`] if too few replicas confirm a write; any other [`QueueError`].
    pub async fn require_primary(&self) -> Result<(), QueueError> {
        let Some(confirmer) = &self.confirmer else { return Ok(()) };
        confirmer.require(&self.link, &self.keys).await
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

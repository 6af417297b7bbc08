//! Keeps a witness of every queue in the state database, to notice when Redis has lost data that it had confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_queue::{Counted, HistoryLoss, Look, Lookout, Queue, QueueError, Witness};
use fleet_runtime::settings::Settings;
use fleet_store::{QueueWitness, StoreError, WitnessStore};
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::connect::Databases;
use crate::metrics;
use crate::queues::{KnownQueues, OpenQueue};

/// Compares every queue with its witness.
#[derive(Debug)]
pub(crate) struct Witnesses {
    /// Prefix of every key.
    prefix: String,
    /// The replicas that confirm pushes.
    replicas: u32,
    known: KnownQueues,
    store: WitnessStore,
}

/// Webhooks of one queue that are unaccounted for. They were answered 200 before the queue was last seen whole. Of webhooks
/// between that time and the loss, only the APIs know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unaccounted {
    /// How many, at most.
    pub(crate) messages: u64,
    /// When the queue was last seen whole.
    pub(crate) since: Option<Timestamp>,
}

impl Witnesses {
    pub(crate) fn new(settings: &Settings, databases: &Databases, known: KnownQueues) -> Self {
        Self {
            prefix: settings.queue.prefix.clone(),
            replicas: settings.queue.replicas,
            known,
            store: WitnessStore::new(databases.state.clone()),
        }
    }

    /// Looks at every queue and updates its witness.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. A Redis that cannot be read is no error: see [`Looked::failed`].
    pub(crate) async fn look(&self) -> Result<Looked, StoreError> {
        // Read the witness before Redis: whatever it says, Redis must know too.
        let witnesses = self.store.read(&queue_prefix(&self.prefix)).await?;
        let named = witnesses.iter().map(|witness| witness.queue.as_str());
        let mut looked = Looked { unaccounted: BTreeMap::new(), failed: self.known.add_named(named).err() };
        let open = self.known.all();
        // Together, so that a server that does not respond delays no other queue.
        let looks = join_all(open.into_iter().map(|OpenQueue { queue, link, .. }| {
            let lookout = Lookout::new(link, &self.prefix, queue).confirmed_by(self.replicas);
            let known = witnesses.iter().find(|known| known.queue == lookout.queue());
            async move { (queue, known, look_at(queue, &lookout, known).await) }
        }));
        for (queue, known, look) in looks.await {
            match look {
                Ok((unaccounted, seen)) => {
                    looked.unaccounted.insert(queue, unaccounted);
                    if let Some(seen) = seen {
                        self.store.note(&seen, known).await?;
                    }
                }
                // Nobody can compare this queue until a person repairs its ledger.
                Err(error) if error.is_broken_key() => {
                    metrics::redis::redis_error(error.kind());
                    tracing::debug!(%queue, %error, "could not compare the queue with its witness");
                    looked.unaccounted.insert(queue, known.map(known_before).unwrap_or_default());
                }
                Err(error) => looked.failed = Some(error),
            }
        }
        Ok(looked)
    }
}

/// The queues that could be compared with their witnesses.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) unaccounted: BTreeMap<Queue, Unaccounted>,
    /// Why another queue could not be read.
    pub(crate) failed: Option<QueueError>,
}

/// Looks at one queue in Redis. Returns what is unaccounted for, and what the witness must note. `None`: another consumer has
/// looked at the same time, or too few replicas have the look.
async fn look_at(
    queue: Queue,
    lookout: &Lookout,
    known: Option<&QueueWitness>,
) -> Result<(Unaccounted, Option<QueueWitness>), QueueError> {
    let compare = |look: &Look| match known {
        Some(known) => lookout.loss(&witness(known), look),
        None => Ok(None),
    };
    let mut look = lookout.look().await?;
    let mut loss = compare(&look)?;
    if loss.is_some() {
        lookout.require_primary().await?;
        // The first look may be of a server that a failover has replaced meanwhile.
        look = lookout.look().await?;
        loss = compare(&look)?;
    }
    let now = Timestamp::now();
    let (seen, missing) = match loss {
        // After a loss, only the database is updated: once Redis has noted a look, the loss is no longer visible.
        Some(HistoryLoss { missing_messages }) => (Some(look), missing_messages),
        None => (lookout.note(&look, unsigned(now.as_millisecond())).await?, 0),
    };
    let whole_at = known.map(|known| known.looked_at);
    if loss.is_some() {
        log_loss(queue, missing, whole_at);
    }
    let seen = seen.map(|seen| QueueWitness {
        queue: lookout.queue().to_owned(),
        look: signed(seen.number),
        looked_at: now,
        accepted: signed(seen.counted.accepted),
        settled: signed(seen.counted.settled),
        missing: signed(missing),
        missing_since: whole_at.filter(|_whole_at| missing > 0),
    });
    let before = known.map_or(0, |known| unsigned(known.missing));
    let since = known.and_then(|known| known.missing_since).or(whole_at.filter(|_whole_at| missing > 0));
    Ok((Unaccounted { messages: before + missing, since }, seen))
}

/// The least time between two looks. A look writes to Redis and to the database, once for each queue.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at the queues until the process ends. While Redis or the database is down, it skips looks.
pub(crate) async fn watch(witnesses: Witnesses, every: Duration) {
    let mut interval = tokio::time::interval(every.max(LOOK_EVERY));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match witnesses.look().await {
            Ok(Looked { unaccounted, failed }) => {
                for (queue, unaccounted) in unaccounted {
                    metrics::queues::unaccounted(queue, unaccounted.messages);
                }
                if let Some(error) = failed {
                    tracing::debug!(%error, "could not compare every queue with its witness");
                }
            }
            Err(error) => tracing::debug!(%error, "could not compare the queues with their witnesses"),
        }
    }
}

/// The prefix of the names of all queues under the prefix of the keys.
pub(crate) fn queue_prefix(prefix: &str) -> String {
    format!("{prefix}:{{")
}

fn log_loss(queue: Queue, missing_messages: u64, whole_at: Option<Timestamp>) {
    let whole_at = whole_at.map(|at| at.to_string());
    if missing_messages == 0 {
        tracing::warn!(
            %queue,
            whole_at,
            "Redis has gone back behind what it had confirmed; everything that it has forgotten was stored before"
        );
    } else {
        tracing::error!(
            %queue,
            missing_messages,
            whole_at,
            "Redis has gone back behind what it had confirmed: up to so many webhooks that had been answered 200 when it was \
             last seen whole are gone, and what came after that; see the runbook, FleetWebhooksUnaccounted"
        );
    }
}

/// What the witness says is unaccounted for.
fn known_before(known: &QueueWitness) -> Unaccounted {
    Unaccounted { messages: unsigned(known.missing), since: known.missing_since }
}

fn witness(known: &QueueWitness) -> Witness {
    let counted = Counted { accepted: unsigned(known.accepted), settled: unsigned(known.settled) };
    let looked_at_ms = unsigned(known.looked_at.as_millisecond());
    Witness { number: unsigned(known.look), looked_at_ms, counted }
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

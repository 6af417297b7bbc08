//! Keeps a witness of every queue in the state database, to notice when Redis has lost data that it had confirmed.

use std::sync::Arc;
use std::time::Duration;

use fleet_providers::PROVIDERS;
use fleet_queue::{Counted, HistoryLoss, Lookout, RedisLink, Witness};
use fleet_runtime::settings::Settings;
use fleet_store::{QueueWitness, WitnessStore};
use jiff::Timestamp;

use crate::connect::{Databases, redis_link};
use crate::error::ConsumerError;
use crate::metrics;

/// Compares every queue with its witness.
#[derive(Debug)]
pub(crate) struct Witnesses {
    prefix: String,
    lookouts: Vec<(&'static str, Lookout)>,
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
    pub(crate) fn new(settings: &Settings, databases: &Databases) -> Result<Self, ConsumerError> {
        let link: Arc<RedisLink> = Arc::new(redis_link(settings)?);
        let prefix = &settings.queue.prefix;
        let lookout = |slug: &'static str| (slug, Lookout::new(Arc::clone(&link), prefix, slug));
        Ok(Self {
            prefix: queue_prefix(settings),
            lookouts: PROVIDERS.iter().map(|provider| lookout(provider.slug)).collect(),
            store: WitnessStore::new(databases.state.clone()),
        })
    }

    /// Looks at every queue and updates its witness. Returns, by provider, how many webhooks are unaccounted for.
    pub(crate) async fn look(&self) -> Result<Vec<(&'static str, Unaccounted)>, ConsumerError> {
        // Read the witness before Redis: whatever it says, Redis must know too.
        let known = self.store.read(&self.prefix).await?;
        let mut found = Vec::with_capacity(self.lookouts.len());
        for (slug, lookout) in &self.lookouts {
            let known = known.iter().find(|known| known.queue == lookout.queue());
            let unaccounted = match self.look_at(slug, lookout, known).await {
                // Nobody can compare this queue until a person repairs its ledger. Go on with the others.
                Err(ConsumerError::Queue(error)) if error.is_broken_key() => {
                    metrics::redis::redis_error(error.kind());
                    tracing::debug!(queue = slug, %error, "could not compare the queue with its witness");
                    known.map(known_before).unwrap_or_default()
                }
                looked => looked?,
            };
            found.push((*slug, unaccounted));
        }
        Ok(found)
    }

    async fn look_at(
        &self,
        slug: &'static str,
        lookout: &Lookout,
        known: Option<&QueueWitness>,
    ) -> Result<Unaccounted, ConsumerError> {
        let look = lookout.look().await?;
        let loss = known.map(|known| lookout.loss(&witness(known), &look)).transpose()?.flatten();
        let now = Timestamp::now();
        let (seen, missing) = match loss {
            // After a loss, only the database is updated here: once Redis has noted a look, the loss is no longer visible.
            Some(HistoryLoss { missing_messages }) => (Some(look), missing_messages),
            None => (lookout.note(&look, unsigned(now.as_millisecond())).await?, 0),
        };
        let whole_at = known.map(|known| known.looked_at);
        if loss.is_some() {
            log_loss(slug, missing, whole_at);
        }
        // `None`: another consumer has looked at the same time.
        if let Some(seen) = seen {
            let seen = QueueWitness {
                queue: lookout.queue().to_owned(),
                look: signed(seen.number),
                looked_at: now,
                accepted: signed(seen.counted.accepted),
                settled: signed(seen.counted.settled),
                missing: signed(missing),
                missing_since: whole_at.filter(|_whole_at| missing > 0),
            };
            self.store.note(&seen, known).await?;
        }
        let before = known.map_or(0, |known| unsigned(known.missing));
        let since = known.and_then(|known| known.missing_since).or(whole_at.filter(|_whole_at| missing > 0));
        Ok(Unaccounted { messages: before + missing, since })
    }
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
            Ok(found) => {
                for (queue, unaccounted) in found {
                    metrics::queues::unaccounted(queue, unaccounted.messages);
                }
            }
            Err(error) => tracing::debug!(%error, "could not compare the queues with their witnesses"),
        }
    }
}

/// The prefix of the names of this configuration's queues.
pub(crate) fn queue_prefix(settings: &Settings) -> String {
    format!("{}:{{", settings.queue.prefix)
}

fn log_loss(queue: &'static str, missing_messages: u64, whole_at: Option<Timestamp>) {
    let whole_at = whole_at.map(|at| at.to_string());
    if missing_messages == 0 {
        tracing::warn!(
            queue,
            whole_at,
            "Redis has gone back behind what it had confirmed; everything that it has forgotten was stored before"
        );
    } else {
        tracing::error!(
            queue,
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

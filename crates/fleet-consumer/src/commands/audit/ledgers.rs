//! Reads the ledgers of the queues and of both databases, and compares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_providers::PROVIDERS;
use fleet_queue::{BrokenKey, Durability, Held, Observer, QueueStatus, RedisLink};
use fleet_runtime::settings::Settings;
use fleet_store::SettledTotals;

use crate::connect::{Databases, keys_of_one_queue, redis_link};
use crate::error::ConsumerError;
use crate::observe::witness::{Unaccounted, Witnesses};

/// The ledgers of every queue and of both databases.
#[derive(Debug)]
pub struct Audit {
    pub(super) queues: Vec<AuditedQueue>,
    pub(super) settled: BTreeMap<String, SettledTotals>,
    pub(super) durability: Durability,
}

/// One queue and its ledger.
#[derive(Debug)]
pub(super) struct AuditedQueue {
    pub(super) name: &'static str,
    pub(super) status: QueueStatus,
    /// The messages in claimed batches. Absent if the user may not count them.
    pub(super) held: Option<Held>,
    pub(super) unaccounted: Unaccounted,
    /// No batch was leased or claimed while the databases were read.
    pub(super) at_rest: bool,
}

impl Audit {
    /// Reads Redis and both databases.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] if one of them cannot be read.
    pub async fn read(settings: &Settings) -> Result<Self, ConsumerError> {
        let databases = Databases::new(settings)?;
        let link = Arc::new(redis_link(settings)?);
        let unaccounted = Witnesses::new(settings, &databases)?.look().await?;
        let before = statuses(&link, settings).await?;
        let settled = SettledTotals::read(&databases.state, &databases.telemetry).await?;
        let after = statuses(&link, settings).await?;
        let mut queues = Vec::new();
        for ((name, before), (_, status)) in before.into_iter().zip(after) {
            let unaccounted = unaccounted.iter().find(|(queue, _)| *queue == name);
            queues.push(AuditedQueue {
                name,
                held: observer(&link, settings, name).held().await?,
                unaccounted: unaccounted.map(|(_, unaccounted)| *unaccounted).unwrap_or_default(),
                at_rest: before.leases + before.parked == 0 && before.claimed == status.claimed,
                status,
            });
        }
        let durability =
            Durability::read(&link, &keys_of_one_queue(settings), settings.queue.replicas).await?;
        Ok(Self { queues, settled, durability })
    }

    /// Whether every queue holds what its ledger says, no webhook is unaccounted for, and both databases have stored the same
    /// records. While batches of a queue are in progress, the databases may differ by them.
    pub fn balances(&self) -> bool {
        self.queues.iter().all(|queue| {
            let agree = || self.settled.get(queue.name).is_none_or(databases_agree);
            queue.balances() && queue.unaccounted.messages == 0 && (!queue.at_rest || agree())
        })
    }

    /// Whether the next restart of Redis would lose what it has accepted.
    pub fn loses_at_restart(&self) -> bool {
        self.durability.default_user_may_write == Some(false)
    }
}

impl AuditedQueue {
    pub(super) fn balances(&self) -> bool {
        let all_held = self
            .held
            .as_ref()
            .is_none_or(|held| held.messages == held.claimed_messages && held.broken.is_empty());
        self.status.balances() && all_held
    }

    /// Each key that another program overwrote.
    pub(super) fn broken(&self) -> impl Iterator<Item = &BrokenKey> {
        let known = &self.status.broken;
        let lists = self.held.iter().flat_map(|held| &held.broken);
        known.iter().chain(lists.filter(|list| known.iter().all(|known| known.key() != list.key())))
    }
}

fn observer(link: &Arc<RedisLink>, settings: &Settings, queue: &str) -> Observer {
    Observer::new(Arc::clone(link), &settings.queue.prefix, queue)
}

async fn statuses(
    link: &Arc<RedisLink>,
    settings: &Settings,
) -> Result<Vec<(&'static str, QueueStatus)>, ConsumerError> {
    let mut statuses = Vec::new();
    for provider in PROVIDERS {
        let status = observer(link, settings, provider.slug).status().await?;
        statuses.push((provider.slug, status));
    }
    Ok(statuses)
}

/// `settled_batches` itself ensures that each record ended in exactly one outcome.
fn databases_agree(totals: &SettledTotals) -> bool {
    totals.telemetry_records == totals.state_records
}

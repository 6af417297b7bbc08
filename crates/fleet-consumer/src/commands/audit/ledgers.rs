//! Reads the ledgers of the queues and of both databases, and compares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_queue::{BrokenKey, Durability, Held, Observer, Queue, QueueStatus};
use fleet_runtime::settings::Settings;
use fleet_store::{DatabaseDurability, SettledTotals};
use strum::VariantArray;

use crate::connect::Databases;
use crate::database_kind::DatabaseKind;
use crate::error::ConsumerError;
use crate::observe::witness::{Unaccounted, Witnesses};
use crate::queues::{KnownQueues, OpenQueue};

/// The ledgers of every queue and of both databases. A provider's queues follow each other.
#[derive(Debug)]
pub struct Audit {
    pub(super) queues: Vec<AuditedQueue>,
    pub(super) settled: BTreeMap<String, SettledTotals>,
    /// The settings of the server that has each queue.
    pub(super) durability: BTreeMap<Queue, Durability>,
    pub(super) databases: Vec<AuditedDatabase>,
}

/// How safe committed batches are in one database.
#[derive(Debug)]
pub(super) struct AuditedDatabase {
    pub(super) kind: DatabaseKind,
    pub(super) durability: DatabaseDurability,
    /// How many synchronous standbys the settings want.
    pub(super) wanted_standbys: u32,
}

/// One queue and its ledger.
#[derive(Debug)]
pub(super) struct AuditedQueue {
    pub(super) queue: Queue,
    /// The settings name it.
    pub(super) is_configured: bool,
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
        let known = KnownQueues::open(settings)?;
        known.discover().await?;
        let looked = Witnesses::new(settings, &databases, known.clone()).look().await?;
        if let Some(failed) = looked.failed {
            return Err(failed.into());
        }
        let (open, prefix) = (known.all(), &settings.queue.prefix);
        let before = statuses(&open, prefix).await?;
        let settled = SettledTotals::read(&databases.state, &databases.telemetry).await?;
        let after = statuses(&open, prefix).await?;
        let (mut queues, mut durability) = (Vec::new(), BTreeMap::new());
        for ((open, before), status) in open.iter().zip(before).zip(after) {
            let queue = open.queue;
            queues.push(AuditedQueue {
                queue,
                is_configured: open.is_configured,
                held: observer(open, prefix).held().await?,
                unaccounted: looked.unaccounted.get(&queue).copied().unwrap_or_default(),
                at_rest: before.leases + before.parked == 0 && before.claimed == status.claimed,
                status,
            });
            durability.insert(
                queue,
                Durability::read(&open.link, &queue.keys(prefix), settings.queue.replicas).await?,
            );
        }
        Ok(Self { queues, settled, durability, databases: audited(&databases, settings).await? })
    }

    /// Whether every queue holds what its ledger says, no webhook is unaccounted for, and both databases have stored the same
    /// records. While batches of a provider are in progress, the databases may differ by them.
    pub fn balances(&self) -> bool {
        let queues = self.queues.iter().all(|queue| queue.balances() && queue.unaccounted.messages == 0);
        queues
            && self
                .settled
                .iter()
                .all(|(provider, totals)| databases_agree(totals) || !self.is_at_rest(provider))
    }

    /// Whether no queue of the provider had a batch in progress.
    fn is_at_rest(&self, provider: &str) -> bool {
        let mut queues = self.queues.iter().filter(|queue| queue.queue.provider() == provider).peekable();
        // Nothing is compared with records of a provider that this version does not know.
        queues.peek().is_some() && queues.all(|queue| queue.at_rest)
    }

    /// Whether the next restart of Redis would lose what it has accepted.
    pub fn loses_at_restart(&self) -> bool {
        self.durability.values().any(|durability| durability.default_user_may_write == Some(false))
    }
}

impl AuditedQueue {
    /// Accepted, waiting, leased, settled and unaccounted messages.
    pub(super) fn counts(&self) -> [u64; 5] {
        let status = &self.status;
        [
            status.accepted.messages,
            status.waiting_messages,
            status.leased().messages,
            status.settled.messages,
            self.unaccounted.messages,
        ]
    }

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

fn observer(open: &OpenQueue, prefix: &str) -> Observer {
    Observer::new(Arc::clone(&open.link), prefix, open.queue)
}

async fn audited(databases: &Databases, settings: &Settings) -> Result<Vec<AuditedDatabase>, ConsumerError> {
    let mut audited = Vec::new();
    for &kind in DatabaseKind::VARIANTS {
        let durability = databases.of(kind).durability().await?;
        let wanted_standbys = settings.database.synchronous_standbys;
        audited.push(AuditedDatabase { kind, durability, wanted_standbys });
    }
    Ok(audited)
}

async fn statuses(open: &[OpenQueue], prefix: &str) -> Result<Vec<QueueStatus>, ConsumerError> {
    let mut statuses = Vec::with_capacity(open.len());
    for open in open {
        statuses.push(observer(open, prefix).status().await?);
    }
    Ok(statuses)
}

/// `settled_batches` itself ensures that each record ended in exactly one outcome.
fn databases_agree(totals: &SettledTotals) -> bool {
    totals.telemetry_records == totals.state_records
}

//! Does everything add up?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use comfy_table::Table;
use fleet_providers::PROVIDERS;
use fleet_queue::{BrokenKey, Durability, Held, Observer, QueueStatus, RedisLink};
use fleet_runtime::settings::Settings;
use fleet_store::SettledTotals;

use crate::connect::{Databases, keys_of_one_queue, redis_link};
use crate::service::ConsumerError;
use crate::witness::{Unaccounted, Witnesses};

/// The ledgers of every queue and of both databases.
#[derive(Debug)]
pub struct Audit {
    queues: Vec<AuditedQueue>,
    settled: BTreeMap<String, SettledTotals>,
    durability: Durability,
}

#[derive(Debug)]
struct AuditedQueue {
    name: &'static str,
    status: QueueStatus,
    /// Absent if the user may not count them.
    held: Option<Held>,
    unaccounted: Unaccounted,
    /// Nothing was claimed while the databases were read, and nothing was being worked on.
    at_rest: bool,
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
        let durability = Durability::read(&link, &keys_of_one_queue(settings)).await?;
        Ok(Self { queues, settled, durability })
    }

    /// Every queue holds what its ledger says, nothing of it is unaccounted for, and what went through one database went
    /// through the other. While a queue is at work the two databases may differ by its batches.
    pub fn balances(&self) -> bool {
        self.queues.iter().all(|queue| {
            let sides_agree = || self.settled.get(queue.name).is_none_or(both_sides_agree);
            queue.balances() && queue.unaccounted.messages == 0 && (!queue.at_rest || sides_agree())
        })
    }

    /// The next restart of Redis would drop what it has accepted.
    pub fn loses_at_restart(&self) -> bool {
        self.durability.default_user_may_write == Some(false)
    }
}

impl AuditedQueue {
    fn balances(&self) -> bool {
        let all_held = self
            .held
            .as_ref()
            .is_none_or(|held| held.messages == held.claimed_messages && held.broken.is_empty());
        self.status.balances() && all_held
    }

    /// Each key that something else has written to.
    fn broken(&self) -> impl Iterator<Item = &BrokenKey> {
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

/// That each record ended in exactly one outcome, `settled_batches` itself makes sure of.
fn both_sides_agree(totals: &SettledTotals) -> bool {
    totals.telemetry_records == totals.state_records
}

impl fmt::Display for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut queues = Table::new();
        queues.set_header(["queue", "accepted", "waiting", "leased", "settled", "unaccounted", "balances"]);
        for queue in &self.queues {
            let status = &queue.status;
            let counts = [
                status.accepted.messages,
                status.waiting_messages,
                status.leased().messages,
                status.settled.messages,
                queue.unaccounted.messages,
            ];
            let mut row = vec![queue.name.to_owned()];
            row.extend(counts.map(|count| count.to_string()));
            row.push(if queue.balances() { "yes" } else { "NO" }.to_owned());
            queues.add_row(row);
        }
        let mut settled = Table::new();
        let header =
            ["provider", "inserted", "duplicate", "dead letters", "through telemetry", "through state"];
        settled.set_header(header);
        for (provider, totals) in &self.settled {
            let counts = [
                totals.inserted,
                totals.duplicate,
                totals.dead_lettered,
                totals.telemetry_records,
                totals.state_records,
            ];
            let mut row = vec![provider.clone()];
            row.extend(counts.map(|count| count.to_string()));
            settled.add_row(row);
        }
        write!(formatter, "Messages, by the queues' ledgers:\n{queues}\n\n")?;
        writeln!(
            formatter,
            "Records (events, and messages without any), by the databases' memory:\n{settled}"
        )?;
        for queue in &self.queues {
            queue.explain(formatter)?;
        }
        for weakness in self.durability.weaknesses() {
            writeln!(formatter, "Redis is set up weaker than it should be: {weakness}")?;
        }
        let unseen = self.durability.unseen().join(", ");
        if !unseen.is_empty() {
            writeln!(formatter, "This user may not see whether Redis has: {unseen}. Make sure of it.")?;
        }
        Ok(())
    }
}

impl AuditedQueue {
    /// What a person has to know beside the figures.
    fn explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, held, unaccounted, status, at_rest: _ } = self;
        for broken in self.broken() {
            writeln!(formatter, "{name}: {broken}")?;
        }
        if status.parked > 0 {
            let parked = status.parked;
            writeln!(formatter, "{name}: {parked} batches are in one database and wait for the other one.")?;
        }
        if held.is_none() {
            writeln!(formatter, "{name}: this user may not count the messages of claimed batches (HKEYS).")?;
        }
        let lost = held.as_ref().map_or(0, |held| held.claimed_messages.saturating_sub(held.messages));
        if lost > 0 && status.has_ledger() {
            writeln!(
                formatter,
                "{name}: {lost} claimed messages are in no batch that has an owner's record: see the runbook, \
                 FleetLedgerUnbalanced."
            )?;
        }
        if let Unaccounted { messages: messages @ 1.., since } = unaccounted {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            writeln!(
                formatter,
                "{name}: up to {messages} webhooks that were answered 200 are unaccounted for{since}, not counting those that \
                 came after that: see the runbook, FleetWebhooksUnaccounted. Once you have decided what to do: \
                 fleet-consumer accept-loss"
            )?;
        }
        Ok(())
    }
}

//! Does everything add up?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use comfy_table::Table;
use fleet_providers::PROVIDERS;
use fleet_queue::{Observer, QueueStatus, RedisLink};
use fleet_runtime::settings::Settings;
use fleet_store::{SettledTotals, settled_totals};

use crate::service::{ConsumerError, Databases};

/// The ledgers of every queue and of both databases.
#[derive(Debug)]
pub struct Audit {
    queues: Vec<AuditedQueue>,
    settled: BTreeMap<String, SettledTotals>,
}

#[derive(Debug)]
struct AuditedQueue {
    name: &'static str,
    status: QueueStatus,
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
        let before = statuses(settings).await?;
        let settled = settled_totals(&databases.state, &databases.telemetry).await?;
        let after = statuses(settings).await?;
        let queues = before.into_iter().zip(after).map(|((name, before), (_, status))| AuditedQueue {
            name,
            status,
            at_rest: before.leases == 0 && before.claimed == status.claimed,
        });
        Ok(Self { queues: queues.collect(), settled })
    }

    /// Every queue holds what its ledger says, and what went through one database went through the other. While a queue
    /// is at work the two databases may differ by its batches.
    pub fn balances(&self) -> bool {
        self.queues.iter().all(|queue| {
            let sides_agree = || self.settled.get(queue.name).is_none_or(both_sides_agree);
            queue.status.balances() && (!queue.at_rest || sides_agree())
        })
    }
}

async fn statuses(settings: &Settings) -> Result<Vec<(&'static str, QueueStatus)>, ConsumerError> {
    let link = Arc::new(RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    )?);
    let mut statuses = Vec::new();
    for provider in PROVIDERS {
        let observer = Observer::new(Arc::clone(&link), &settings.queue.prefix, provider.slug);
        statuses.push((provider.slug, observer.status().await?));
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
        queues.set_header(["queue", "accepted", "waiting", "leased", "settled", "balances"]);
        for AuditedQueue { name, status, at_rest: _ } in &self.queues {
            let counts = [
                status.accepted.messages,
                status.waiting_messages,
                status.leased().messages,
                status.settled.messages,
            ];
            let mut row = vec![(*name).to_owned()];
            row.extend(counts.map(|count| count.to_string()));
            row.push(if status.balances() { "yes" } else { "NO" }.to_owned());
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
        write!(formatter, "Records (events, and messages without any), by the databases' memory:\n{settled}")
    }
}

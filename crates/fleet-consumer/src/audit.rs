//! Does everything add up?

use std::fmt;
use std::sync::Arc;

use comfy_table::Table;
use fleet_providers::PROVIDERS;
use fleet_queue::{Observer, QueueStatus, RedisLink};
use fleet_runtime::settings::Settings;
use fleet_store::{SettledTotals, settled_totals};

use crate::service::{ConsumerError, Databases};

/// The ledgers of every queue and of the telemetry database.
#[derive(Debug)]
pub struct Audit {
    queues: Vec<(&'static str, QueueStatus)>,
    settled: Vec<SettledTotals>,
}

impl Audit {
    /// Reads Redis and the telemetry database.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] if one of them cannot be read.
    pub async fn read(settings: &Settings) -> Result<Self, ConsumerError> {
        let link = Arc::new(RedisLink::new(
            settings.redis_url.expose(),
            settings.queue.timeout,
        )?);
        let mut queues = Vec::new();
        for provider in PROVIDERS {
            let observer = Observer::new(Arc::clone(&link), &settings.queue.prefix, provider.slug);
            queues.push((provider.slug, observer.status().await?));
        }
        let databases = Databases::new(settings)?;
        Ok(Self {
            queues,
            settled: settled_totals(&databases.telemetry).await?,
        })
    }

    /// Every queue holds what its ledger says, and every record ended in exactly one outcome.
    pub fn balances(&self) -> bool {
        self.queues.iter().all(|(_queue, status)| status.balances())
            && self
                .settled
                .iter()
                .all(|totals| totals.records == totals.inserted + totals.duplicate + totals.dead_lettered)
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut queues = Table::new();
        queues.set_header(["queue", "accepted", "waiting", "leased", "settled", "balances"]);
        for (queue, status) in &self.queues {
            let balances = if status.balances() { "yes" } else { "NO" };
            let [accepted, waiting, leased, settled] = [
                status.accepted.messages,
                status.waiting_messages,
                status.leased().messages,
                status.settled.messages,
            ];
            queues.add_row([
                *queue,
                &accepted.to_string(),
                &waiting.to_string(),
                &leased.to_string(),
                &settled.to_string(),
                balances,
            ]);
        }
        let mut settled = Table::new();
        settled.set_header(["provider", "records", "inserted", "duplicate", "dead letters"]);
        for totals in &self.settled {
            let counts = [
                totals.records,
                totals.inserted,
                totals.duplicate,
                totals.dead_lettered,
            ];
            let mut row = vec![totals.provider.clone()];
            row.extend(counts.map(|count| count.to_string()));
            settled.add_row(row);
        }
        write!(
            formatter,
            "Messages, by the queues' ledgers:\n{queues}\n\nRecords, by settled_batches:\n{settled}"
        )
    }
}

//! Publishes and logs how safe committed batches are in each database.

use std::time::Duration;

use fleet_runtime::liveness::idle;
use fleet_store::{Database, DatabaseDurability};
use strum::VariantArray;

use crate::connect::Databases;
use crate::database_kind::DatabaseKind;
use crate::metrics;

/// How often the settings and the standbys are read.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Publishes the weaknesses and the synchronous standbys of both databases, and logs them whenever they change. `wanted` is
/// how many standbys the operator wants to have each commit.
pub(crate) async fn observe(databases: Databases, wanted: u32) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let mut logged: Vec<Logged> = DatabaseKind::VARIANTS.iter().map(|_side| Logged::default()).collect();
    loop {
        idle(interval.tick()).await;
        for (&side, logged) in DatabaseKind::VARIANTS.iter().zip(&mut logged) {
            look(side, databases.of(side), wanted, logged).await;
        }
    }
}

/// What was logged about a database.
#[derive(Default)]
struct Logged {
    standbys: Option<Option<u32>>,
    weaknesses: Vec<String>,
}

async fn look(side: DatabaseKind, database: &Database, wanted: u32, logged: &mut Logged) {
    let durability = match database.durability().await {
        Ok(durability) => durability,
        Err(error) => {
            // The writes of batches log an outage.
            tracing::debug!(side = side.name(), %error, "the database's durability cannot be read");
            return;
        }
    };
    let (weaknesses, standbys) = (durability.weaknesses(wanted), durability.synchronous_standbys());
    metrics::databases::weaknesses(side, weaknesses.len());
    metrics::databases::synchronous_standbys(side, standbys);
    if logged.standbys.replace(standbys) != Some(standbys) {
        log_standbys(side, &durability, wanted);
    }
    if weaknesses != logged.weaknesses {
        for weakness in &weaknesses {
            tracing::warn!(side = side.name(), "the database is set up weaker than it should be: {weakness}");
        }
        logged.weaknesses = weaknesses;
    }
}

fn log_standbys(side: DatabaseKind, durability: &DatabaseDurability, wanted: u32) {
    let side = side.name();
    match durability.synchronous_standbys() {
        Some(0) if durability.synchronous_standby_names.is_empty() => tracing::info!(
            side,
            "a commit survives a crash of the database server, but not the loss of its disk: synchronous_standby_names \
             is empty"
        ),
        Some(standbys) => {
            tracing::info!(side, standbys, "synchronous standbys have each commit of the database");
        }
        None if wanted > 0 => tracing::warn!(side, "{UNSEEN}"),
        None => tracing::info!(side, "{UNSEEN}"),
    }
}

const UNSEEN: &str = "this login may not see the synchronous standbys: GRANT pg_read_all_stats to it, or check \
                      pg_stat_replication yourself";

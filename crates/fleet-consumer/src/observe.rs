//! What the consumer shows of queues, Redis and pools. None of it holds up a batch.

use std::sync::Arc;
use std::time::Duration;

use fleet_providers::PROVIDERS;
use fleet_queue::{Durability, Observer, QueueKeys, RedisLink, RedisMemory};
use fleet_runtime::liveness::idle;
use jiff::Timestamp;

use crate::connect::Databases;
use crate::metrics;

/// Between two looks at Redis' settings, which people change while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Shows every queue's state as metrics.
pub(crate) async fn queues(link: RedisLink, prefix: String, every: Duration) {
    let link = Arc::new(link);
    let observers: Vec<_> = PROVIDERS
        .iter()
        .map(|provider| (provider.slug, Observer::new(Arc::clone(&link), &prefix, provider.slug)))
        .collect();
    let mut interval = tokio::time::interval(every);
    loop {
        interval.tick().await;
        match RedisMemory::read(&link).await {
            Ok(memory) => metrics::redis_memory(memory),
            // A user that may not run INFO is no reason to fail; then there is no such metric.
            Err(error) => tracing::debug!(%error, "cannot see how full Redis is"),
        }
        for (slug, observer) in &observers {
            match observer.status().await {
                Ok(status) => metrics::queue(slug, &status, Timestamp::now()),
                Err(error) => metrics::redis_error(error.kind()),
            }
        }
    }
}

/// Shows how busy the pools are.
pub(crate) async fn pools(databases: Databases, every: Duration) {
    let Databases { state, telemetry } = databases;
    let pools = match state.shares_pool_with(&telemetry) {
        true => vec![("shared", state)],
        false => vec![("state", state), ("telemetry", telemetry)],
    };
    let mut interval = tokio::time::interval(every);
    loop {
        interval.tick().await;
        for (name, database) in &pools {
            metrics::pool(name, database.pool_usage());
        }
    }
}

/// Shows, and says when it changes, what makes Redis weaker than an accepted message deserves.
pub(crate) async fn durability(link: RedisLink, keys: QueueKeys) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let mut said = Vec::new();
    loop {
        idle(interval.tick()).await;
        match Durability::read(&link, &keys).await {
            Ok(durability) => {
                let weaknesses = durability.weaknesses();
                metrics::redis_weaknesses(weaknesses.len());
                if weaknesses != said {
                    for weakness in &weaknesses {
                        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
                    }
                    said = weaknesses;
                }
            }
            Err(error) => metrics::redis_error(error.kind()),
        }
    }
}

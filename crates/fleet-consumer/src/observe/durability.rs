//! Publishes and logs which settings of Redis endanger accepted messages.

use std::time::Duration;

use fleet_queue::{Durability, QueueKeys, RedisLink};
use fleet_runtime::liveness::idle;

use crate::metrics;

/// How often Redis' settings are read. People change them while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Publishes how many settings endanger messages, and logs them whenever they change. `replicas` must confirm pushes.
pub(crate) async fn observe(link: RedisLink, keys: QueueKeys, replicas: u32) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let mut logged = Vec::new();
    loop {
        idle(interval.tick()).await;
        match Durability::read(&link, &keys, replicas).await {
            Ok(durability) => {
                let weaknesses = durability.weaknesses();
                metrics::redis::redis_weaknesses(weaknesses.len());
                if weaknesses != logged {
                    for weakness in &weaknesses {
                        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
                    }
                    logged = weaknesses;
                }
            }
            Err(error) => metrics::redis::redis_error(error.kind()),
        }
    }
}

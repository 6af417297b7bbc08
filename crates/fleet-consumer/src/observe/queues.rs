//! What the consumer shows of queues, Redis and pools. None of it holds up a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_providers::PROVIDERS;
use fleet_queue::{BrokenKey, Durability, Observer, QueueKeys, RedisLink, RedisMemory};
use fleet_runtime::liveness::idle;
use fleet_runtime::outage::{Failing, OutageLog, Over};
use jiff::Timestamp;

use crate::connect::Databases;
use crate::metrics;

/// Between two looks at Redis' settings, which people change while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Shows every queue's state as metrics.
pub(crate) async fn queues(link: RedisLink, prefix: String, every: Duration) {
    let link = Arc::new(link);
    let observer = |queue: &'static str| {
        (Observer::new(Arc::clone(&link), &prefix, queue), BrokenKeys { queue, log: OutageLog::default() })
    };
    let mut observers: Vec<_> = PROVIDERS.iter().map(|provider| observer(provider.slug)).collect();
    let mut interval = tokio::time::interval(every);
    loop {
        interval.tick().await;
        match RedisMemory::read(&link).await {
            Ok(memory) => metrics::redis_memory(memory),
            // A user that may not run INFO is no reason to fail; then there is no such metric.
            Err(error) => tracing::debug!(%error, "cannot see how full Redis is"),
        }
        for (observer, broken) in &mut observers {
            match observer.status().await {
                Ok(status) => {
                    metrics::queue(broken.queue, &status, Timestamp::now());
                    broken.note(&status.broken);
                }
                Err(error) => metrics::redis_error(error.kind()),
            }
        }
    }
}

/// Counts one queue's keys that something else has written to, and logs which when that begins, goes on and ends.
struct BrokenKeys {
    queue: &'static str,
    log: OutageLog,
}

impl BrokenKeys {
    fn note(&mut self, broken: &[BrokenKey]) {
        let (queue, now) = (self.queue, Instant::now());
        if broken.is_empty() {
            if let Some(Over { lasted, .. }) = self.log.succeeded(now) {
                tracing::info!(
                    queue,
                    seconds = lasted.as_secs(),
                    "the queue's keys are as they should be again"
                );
            }
            return;
        }
        for one in broken {
            metrics::redis_error(one.kind());
        }
        if let Some(Failing { lasted, .. }) = self.log.failed(now, 1) {
            let seconds = lasted.as_secs();
            for one in broken {
                tracing::error!(
                    queue,
                    seconds,
                    kind = one.kind(),
                    "something else has written to the queue: {one}"
                );
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

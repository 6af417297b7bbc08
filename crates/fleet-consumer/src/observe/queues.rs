//! Publishes the state of every queue and the memory of Redis as metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_providers::PROVIDERS;
use fleet_queue::{BrokenKey, Observer, RedisLink, RedisMemory, Replication};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::QueueSettings;
use jiff::Timestamp;

use crate::metrics;

/// Publishes them once a `period`, until the process ends.
pub(crate) async fn observe(link: RedisLink, settings: QueueSettings, period: Duration) {
    let link = Arc::new(link);
    let observer = |queue: &'static str| {
        (
            Observer::new(Arc::clone(&link), &settings.prefix, queue),
            BrokenKeys { queue, log: OutageLog::default() },
        )
    };
    let mut observers: Vec<_> = PROVIDERS.iter().map(|provider| observer(provider.slug)).collect();
    let mut interval = tokio::time::interval(period);
    loop {
        interval.tick().await;
        match RedisMemory::read(&link).await {
            Ok(memory) => metrics::redis::redis_memory(memory),
            // A user that may not run INFO gets no such metric.
            Err(error) => tracing::debug!(%error, "cannot read how much memory Redis uses"),
        }
        if settings.replicas > 0 {
            observe_replicas(&link).await;
        }
        for (observer, broken) in &mut observers {
            match observer.status().await {
                Ok(status) => {
                    metrics::queues::queue(broken.queue, &status, Timestamp::now());
                    broken.note(&status.broken);
                }
                Err(error) => metrics::redis::redis_error(error.kind()),
            }
        }
    }
}

async fn observe_replicas(link: &RedisLink) {
    match Replication::read(link).await {
        Ok(Some(replication)) => metrics::redis::replication(&replication),
        // A user that may not run ROLE gets no such metric.
        Ok(None) => {}
        Err(error) => metrics::redis::redis_error(error.kind()),
    }
}

/// Counts the keys of one queue that another program overwrote, and logs them when that begins, goes on and ends.
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
            metrics::redis::redis_error(one.kind());
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

//! Publishes the state of every queue and the memory of Redis as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{BrokenKey, Observer, Queue, RedisLink, RedisMemory, Replication};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::QueueSettings;
use futures_util::future::join_all;
use jiff::Timestamp;

use crate::metrics;
use crate::queues::{KnownQueues, OpenQueue};

/// Publishes them once a `period`, until the process ends.
pub(crate) async fn observe(known: KnownQueues, settings: QueueSettings, period: Duration) {
    let mut broken_keys: BTreeMap<Queue, BrokenKeys> = BTreeMap::new();
    let mut interval = tokio::time::interval(period);
    loop {
        interval.tick().await;
        let open: BTreeMap<_, _> = known.all().into_iter().map(|open| (open.queue, open)).collect();
        for &queue in open.keys() {
            broken_keys.entry(queue).or_insert_with(|| BrokenKeys::of(queue));
        }
        // Together, so that a server that does not respond delays no other queue.
        let observing = broken_keys.values_mut().filter_map(|broken| {
            let open = open.get(&broken.queue)?;
            Some(observe_queue(open, &settings, broken))
        });
        join_all(observing).await;
    }
}

async fn observe_queue(open: &OpenQueue, settings: &QueueSettings, broken: &mut BrokenKeys) {
    let (queue, link) = (open.queue, &open.link);
    match RedisMemory::read(link).await {
        Ok(memory) => metrics::redis::redis_memory(queue, memory),
        // A user that may not run INFO gets no such metric.
        Err(error) => tracing::debug!(%queue, %error, "cannot read how much memory Redis uses"),
    }
    if settings.replicas > 0 {
        observe_replicas(queue, link).await;
    }
    match Observer::new(Arc::clone(link), &settings.prefix, queue).status().await {
        Ok(status) => {
            metrics::queues::queue(queue, &status, Timestamp::now());
            broken.note(&status.broken);
        }
        Err(error) => metrics::redis::redis_error(error.kind()),
    }
}

async fn observe_replicas(queue: Queue, link: &RedisLink) {
    match Replication::read(link).await {
        Ok(Some(replication)) => metrics::redis::replication(queue, &replication),
        // A user that may not run ROLE gets no such metric.
        Ok(None) => {}
        Err(error) => metrics::redis::redis_error(error.kind()),
    }
}

/// Counts the keys of one queue that another program overwrote, and logs them when that begins, goes on and ends.
struct BrokenKeys {
    queue: Queue,
    log: OutageLog,
}

impl BrokenKeys {
    fn of(queue: Queue) -> Self {
        Self { queue, log: OutageLog::default() }
    }

    fn note(&mut self, broken: &[BrokenKey]) {
        let (queue, now) = (self.queue, Instant::now());
        if broken.is_empty() {
            if let Some(Over { lasted, .. }) = self.log.succeeded(now) {
                tracing::info!(
                    %queue,
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
                    %queue,
                    seconds,
                    kind = one.kind(),
                    "something else has written to the queue: {one}"
                );
            }
        }
    }
}

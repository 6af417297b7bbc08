//! Publishes the state of every queue and the memory of Redis as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{BrokenKey, Observer, Queue, RedisLink, RedisMemory, Replication};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::QueueSettings;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::metrics;
use crate::queues::{KnownQueues, OpenQueue, has_work};

/// How long a queue that the settings do not name must stay empty until its workers stop.
const EMPTY_FOR: Duration = Duration::from_secs(10);

/// The least time between two searches for queues that nobody has named. The witness finds most of them earlier.
const DISCOVER_EVERY: Duration = Duration::from_secs(5);

/// The queues to observe.
#[derive(Debug)]
pub(crate) struct WatchedQueues {
    pub(crate) known: KnownQueues,
    /// Receives those that the settings do not name and that have messages.
    pub(crate) busy_unnamed: watch::Sender<BTreeSet<Queue>>,
}

/// Publishes them once a `period`, until the process ends.
pub(crate) async fn observe(watched: WatchedQueues, settings: QueueSettings, period: Duration) {
    let WatchedQueues { known, busy_unnamed } = watched;
    let mut observed: BTreeMap<Queue, ObservedQueue> = BTreeMap::new();
    let mut interval = tokio::time::interval(period);
    let mut discovered_at: Option<Instant> = None;
    loop {
        interval.tick().await;
        for open in known.all() {
            observed.entry(open.queue).or_insert_with(|| ObservedQueue::new(open, &settings));
        }
        // Together, so that a server that does not respond delays no other queue.
        let observing = join_all(observed.values_mut().map(ObservedQueue::observe));
        let discovering = async {
            if discovered_at.is_none_or(|at| at.elapsed() >= DISCOVER_EVERY) {
                discovered_at = Some(Instant::now());
                discover(&known).await;
            }
        };
        tokio::join!(observing, observe_memory(&known), discovering);
        let busy: BTreeSet<_> = observed
            .values()
            .filter(|observed| observed.is_busy_unnamed())
            .map(|observed| observed.open.queue)
            .collect();
        busy_unnamed.send_if_modified(|before| {
            let is_new = *before != busy;
            *before = busy;
            is_new
        });
    }
}

async fn discover(known: &KnownQueues) {
    if let Err(error) = known.discover().await {
        tracing::debug!(%error, "cannot look for queues that the settings do not name");
    }
}

/// Publishes the memory of the Redis of every queue. Asks a server that all queues share only once.
async fn observe_memory(known: &KnownQueues) {
    let open = known.all();
    let asked = if known.share_a_server() { open.get(..1).unwrap_or_default() } else { &open };
    let memories = join_all(asked.iter().map(|open| RedisMemory::read(&open.link))).await;
    for (open, memory) in open.iter().zip(memories.iter().cycle()) {
        match memory {
            Ok(memory) => metrics::redis::redis_memory(open.queue, *memory),
            // A user that may not run INFO gets no such metric.
            Err(error) => {
                tracing::debug!(queue = %open.queue, %error, "cannot read how much memory Redis uses");
            }
        }
    }
}

struct ObservedQueue {
    open: OpenQueue,
    observer: Observer,
    broken: BrokenKeys,
    /// Replicas must confirm its pushes.
    has_replicas: bool,
    /// When it had messages, or accepted some.
    busy_at: Option<Instant>,
    accepted: u64,
}

impl ObservedQueue {
    fn new(open: OpenQueue, settings: &QueueSettings) -> Self {
        let observer = Observer::new(Arc::clone(&open.link), &settings.prefix, open.queue);
        let broken = BrokenKeys { queue: open.queue, log: OutageLog::default() };
        let has_replicas = settings.replicas > 0;
        Self { open, observer, broken, has_replicas, busy_at: None, accepted: 0 }
    }

    async fn observe(&mut self) {
        let OpenQueue { queue, link, is_configured } = &self.open;
        if self.has_replicas {
            observe_replicas(*queue, link).await;
        }
        match self.observer.status().await {
            Ok(status) => {
                metrics::queues::queue(*queue, &status, Timestamp::now());
                metrics::queues::configured(*queue, *is_configured);
                self.broken.note(&status.broken);
                let accepted = std::mem::replace(&mut self.accepted, status.accepted.messages);
                if has_work(&status) || (self.busy_at.is_some() && accepted != self.accepted) {
                    self.busy_at = Some(Instant::now());
                }
            }
            Err(error) => {
                metrics::redis::redis_error(error.kind());
                // Nobody knows whether it is empty by now.
                if self.is_busy_unnamed() {
                    self.busy_at = Some(Instant::now());
                }
            }
        }
    }

    /// Whether it needs workers that the settings do not give it.
    fn is_busy_unnamed(&self) -> bool {
        !self.open.is_configured && self.busy_at.is_some_and(|busy_at| busy_at.elapsed() < EMPTY_FOR)
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

//! Watches whether Redis is reachable, and whether its settings keep accepted messages safe.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Durability, Queue, QueueError, QueueKeys, RedisLink};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::readiness::Readiness;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use crate::metrics;
use crate::replica_watch::ReplicaWatch;

/// Time between two attempts to reach Redis at the start.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Time between two reads of Redis' settings, which operators may change at any time.
const READ_EVERY: Duration = Duration::from_secs(60);

/// A queue whose Redis is watched.
pub(crate) struct WatchedQueue {
    pub(crate) queue: Queue,
    pub(crate) link: RedisLink,
    pub(crate) keys: QueueKeys,
    /// The backlog caps of the queues on this Redis, as far as they are known.
    pub(crate) caps_bytes: u64,
}

/// Sets the API ready once the Redis of any queue responds: if one server of a cluster is away, the others still accept
/// webhooks. The API stays ready if Redis fails later: otherwise every replica would leave the load balancer at once, and
/// providers would receive no 503. Then watches Redis' settings, and its `replicas` if pushes wait for them. Ends only with an
/// error that no retry can solve.
pub(crate) async fn watch(
    queues: Vec<WatchedQueue>,
    readiness: Arc<Readiness>,
    replicas: Vec<ReplicaWatch>,
) -> QueueError {
    if let Err(unusable) = reach(&queues).await {
        return unusable;
    }
    readiness.set_started();
    let wanted = replicas.iter().map(|replicas| replicas.wanted).max().unwrap_or_default();
    let watching_replicas = join_all(replicas.into_iter().map(ReplicaWatch::run));
    let (never, _replicas) = tokio::join!(watch_durability(&queues, wanted), watching_replicas);
    match never {}
}

async fn reach(queues: &[WatchedQueue]) -> Result<(), QueueError> {
    let mut interval = tokio::time::interval(RETRY_EVERY);
    let mut outage = OutageLog::default();
    loop {
        interval.tick().await;
        match ping_any(queues).await {
            Ok(()) => {
                if let Some(Over { failures, lasted }) = outage.succeeded(Instant::now()) {
                    tracing::info!(failures, seconds = lasted.as_secs(), "Redis responds");
                }
                return Ok(());
            }
            Err(error) if error.is_permanent() => return Err(error),
            Err(error) => {
                metrics::redis_error(error.kind());
                if let Some(Failing { failures, lasted }) = outage.failed(Instant::now(), 1) {
                    tracing::warn!(failures, seconds = lasted.as_secs(), kind = error.kind(), %error, "waiting for Redis");
                }
            }
        }
    }
}

/// Whether the Redis of any queue responds. The queues are asked together, because each server that does not respond takes its
/// time.
async fn ping_any(queues: &[WatchedQueue]) -> Result<(), QueueError> {
    let mut asking: FuturesUnordered<_> = queues.iter().map(|watched| watched.link.ping()).collect();
    let mut result = Ok(());
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(()) => return Ok(()),
            Err(error) if error.is_permanent() => return Err(error),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// What weakens Redis, and what this user may not read.
type Found = (BTreeSet<String>, BTreeSet<String>);

/// `replicas` must confirm pushes.
async fn watch_durability(queues: &[WatchedQueue], replicas: u32) -> Infallible {
    let mut interval = tokio::time::interval(READ_EVERY);
    let mut said = None;
    loop {
        interval.tick().await;
        let Some(found) = read_durability(queues, replicas).await else { continue };
        metrics::redis_weaknesses(u32::try_from(found.0.len()).unwrap_or(u32::MAX));
        if said.as_ref() != Some(&found) {
            report(&found);
            said = Some(found);
        }
    }
}

/// The settings of every server. `None` if none responds.
async fn read_durability(queues: &[WatchedQueue], replicas: u32) -> Option<Found> {
    let reads = queues.iter().map(|watched| Durability::read(&watched.link, &watched.keys, replicas));
    let mut found: Option<Found> = None;
    for (watched, read) in queues.iter().zip(join_all(reads).await) {
        match read {
            Ok(durability) => {
                let (weak, unseen) = found.get_or_insert_with(Found::default);
                weak.extend(weaknesses(&durability, watched.caps_bytes));
                unseen.extend(durability.unseen());
            }
            Err(error) => {
                tracing::debug!(queue = %watched.queue, %error, "cannot read the settings of Redis");
                metrics::redis_error(error.kind());
            }
        }
    }
    found
}

fn weaknesses(durability: &Durability, caps_bytes: u64) -> Vec<String> {
    let mut weaknesses = durability.weaknesses();
    if durability.maxmemory_bytes.is_some_and(|maxmemory| maxmemory > 0 && maxmemory <= caps_bytes) {
        weaknesses.push(format!(
            "the providers' backlog caps add up to {caps_bytes} bytes; keep them below maxmemory, or one provider's \
             backlog takes the memory of the others"
        ));
    }
    weaknesses
}

fn report((weaknesses, unseen): &Found) {
    for weakness in weaknesses {
        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
    }
    if !unseen.is_empty() {
        let unseen: Vec<_> = unseen.iter().map(String::as_str).collect();
        tracing::info!(
            "this Redis user has no permission to check durability (CONFIG GET, ACL DRYRUN); make sure that Redis runs with {}",
            unseen.join(", ")
        );
    }
}

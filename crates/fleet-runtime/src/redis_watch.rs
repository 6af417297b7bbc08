//! Watches whether Redis is reachable, and whether it keeps what it accepts, for services that push.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Producer, Queue, QueueError};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use self::replicas::ReplicaWatch;
pub use self::reports::Reports;
use self::watched_queue::WatchedQueue;
use crate::outage::{Failing, OutageLog, Over};
use crate::settings::Settings;

mod durability;
mod replicas;
mod reports;
mod watched_queue;

/// Time between two attempts to reach Redis at the start.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// The queues of one provider, and the most bytes that its messages may take in Redis.
#[derive(Clone, Debug)]
pub struct PushedQueues {
    /// The provider's queues.
    pub queues: Vec<Queue>,
    /// Most bytes of the provider's messages, waiting or in flight.
    pub max_backlog_bytes: u64,
}

/// Watches the Redis of these queues over connections of its own: one, or in a cluster one for each queue. Calls `reached` once
/// the Redis of any queue responds: if one server of a cluster is away, the others still accept pushes. Then watches Redis'
/// settings, and its replicas if pushes wait for them. The future ends only with an error that no retry can solve.
///
/// # Errors
///
/// [`QueueError`] if Redis' URL can never be used.
pub fn watch_redis<Reached: FnOnce()>(
    settings: &Settings,
    pushed: &[PushedQueues],
    reports: Reports,
    reached: Reached,
) -> Result<impl Future<Output = QueueError> + use<Reached>, QueueError> {
    // In a cluster, it is not known which queues share a server, so only the caps of single queues are compared.
    let all_caps_bytes = pushed.iter().map(|pushed| pushed.max_backlog_bytes).fold(0, u64::saturating_add);
    let shared = settings.queues_share_a_server();
    let mut watched = Vec::new();
    for PushedQueues { queues, max_backlog_bytes } in pushed {
        for &queue in queues {
            let own = max_backlog_bytes / u64::try_from(queues.len()).unwrap_or(u64::MAX);
            let caps_bytes = if shared { all_caps_bytes } else { own };
            let keys = queue.keys(&settings.queue.prefix);
            watched.push(WatchedQueue { queue, link: settings.redis_link(queue)?, keys, caps_bytes });
        }
    }
    let queues: Vec<_> = watched.iter().map(|watched| watched.queue).collect();
    // One connection a server is enough.
    watched.truncate(if shared { 1 } else { watched.len() });
    let replicas = replica_watches(settings, &queues, reports)?;
    Ok(watch(watched, replicas, reports, reached))
}

async fn watch(
    queues: Vec<WatchedQueue>,
    replicas: Vec<ReplicaWatch>,
    reports: Reports,
    reached: impl FnOnce(),
) -> QueueError {
    if let Err(unusable) = reach(&queues, &reports).await {
        return unusable;
    }
    reached();
    let wanted = replicas.iter().map(|replicas| replicas.wanted).max().unwrap_or_default();
    let watching_replicas = join_all(replicas.into_iter().map(ReplicaWatch::run));
    let (never, _replicas) = tokio::join!(durability::watch(&queues, wanted, &reports), watching_replicas);
    match never {}
}

/// One for each server, as far as that is known. None if pushes wait for no replica.
fn replica_watches(
    settings: &Settings,
    queues: &[Queue],
    reports: Reports,
) -> Result<Vec<ReplicaWatch>, QueueError> {
    let wanted = settings.queue.replicas;
    let of_a_server = if settings.queues_share_a_server() { queues.len() } else { 1 };
    let servers = queues.chunks(of_a_server.max(1)).filter(|_queues| wanted > 0);
    let watch = |queues: &[Queue]| {
        let Some(&first) = queues.first() else { return Ok(None) };
        // A connection of its own, because WAIT blocks it.
        let link = Arc::new(settings.redis_link(first)?);
        let producer = Producer::new(link, &settings.queue.prefix, first).confirmed_by(wanted);
        Ok(Some(ReplicaWatch { queues: queues.to_vec(), producer, wanted, reports }))
    };
    servers.filter_map(|queues| watch(queues).transpose()).collect()
}

async fn reach(queues: &[WatchedQueue], reports: &Reports) -> Result<(), QueueError> {
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
                (reports.error)(error.kind());
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

//! From settings and a listener to a running API, and to its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Producer, Queue, QueueError};
use fleet_runtime::http::{ServeLimits, serve};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::Settings;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::group_commit::Shares;
use crate::handler::Handler;
use crate::outcome_record::OutcomeRecord;
use crate::redis_link::link;
use crate::redis_watch::WatchedQueue;
use crate::replica_watch::ReplicaWatch;
use crate::source::Source;
use crate::source_settings::SourceSettings;
use crate::{metrics, redis_watch, refusals, secrets};

/// A new connection is not closed to make room before this time has passed. A client that sends its request at once, as
/// providers do, has been read by then.
const GRACE: Duration = Duration::from_millis(100);

/// How long idle connections stay open after the shutdown has begun. A connection that brings more than one webhook a second
/// brings another one within this time.
const IDLE_DRAIN: Duration = Duration::from_secs(1);

/// Serves webhooks until `shutdown`, then finishes the requests in flight. Returns whether all of them ended in time.
///
/// # Errors
///
/// [`QueueError::Url`] if Redis' URL is not valid, [`QueueError::WrongTopology`] if Redis has another topology. An unreachable
/// Redis is no error: until it is reachable, requests are answered 503.
pub async fn run(
    settings: &Settings,
    sources: Vec<SourceSettings>,
    listener: TcpListener,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<bool, QueueError> {
    metrics::describe();
    let watching = watch_redis(settings, &sources, &readiness)?;
    let mut tasks = JoinSet::new();
    let mut handler = Handler {
        sources: HashMap::new(),
        unknown: OutcomeRecord::of_unknown(),
        retry_after: settings.api.retry_after,
    };
    let shares = Shares::among(sources.len());
    for (index, source) in sources.iter().enumerate() {
        let slug = source.provider.slug;
        let shares = shares.of(index, source.queues.len(), settings.queues_share_a_server());
        let (opened, committers) = Source::open(settings, source, shares)?;
        // The longest wait is one call to Redis: for a connection, then for the reply.
        let longest_wait = settings.queue.timeout;
        for (queue, committer) in committers {
            tasks.spawn(readiness.liveness().watch(format!("committer {queue}"), longest_wait, committer));
        }
        if let Some(path) = source.secrets_file.clone() {
            let watching = secrets::watch(slug, path, Arc::clone(&opened.secrets));
            tasks.spawn(until(shutdown.clone(), watching));
        }
        handler.sources.insert(slug, Arc::new(opened));
    }
    tasks.spawn(close_readiness(readiness, shutdown.clone()));
    let records = handler.sources.values().map(|source| &source.record).chain([&handler.unknown]);
    let every_refusal: Vec<_> = records.map(OutcomeRecord::refusals).collect();
    let summing_up = refusals::watch(every_refusal.clone());
    let handler = Arc::new(handler);
    let app = move |request, peer| Arc::clone(&handler).handle(request, peer);
    let clean = tokio::select! {
        clean = serve(listener, app, serve_limits(settings), shutdown) => clean,
        () = any_panic(&mut tasks) => {
            tracing::error!("stopping: a task that every webhook needs has panicked, as logged above");
            false
        }
        // No webhook has been accepted: there is nothing to finish.
        unusable = watching => return Err(unusable),
        never = summing_up => match never {},
    };
    every_refusal.iter().for_each(|refusals| refusals.sum_up());
    // The last request has dropped the last handle of each committer, which then ends by itself.
    if !clean {
        tasks.abort_all();
    }
    while tasks.join_next().await.is_some() {}
    Ok(clean)
}

/// Watches Redis over connections of its own: one, or in a cluster one for each queue. The future ends only if Redis can never be used.
fn watch_redis(
    settings: &Settings,
    sources: &[SourceSettings],
    readiness: &Arc<Readiness>,
) -> Result<impl Future<Output = QueueError> + use<>, QueueError> {
    // In a cluster, it is not known which queues share a server, so only the caps of single queues are compared.
    let all_caps_bytes = sources.iter().map(|source| source.max_backlog_bytes).fold(0, u64::saturating_add);
    let shared = settings.queues_share_a_server();
    let mut watched = Vec::new();
    for source in sources {
        for &queue in &source.queues {
            let own = source.max_backlog_bytes / u64::try_from(source.queues.len()).unwrap_or(u64::MAX);
            let caps_bytes = if shared { all_caps_bytes } else { own };
            let keys = queue.keys(&settings.queue.prefix);
            watched.push(WatchedQueue { queue, link: link(settings, queue)?, keys, caps_bytes });
        }
    }
    let queues: Vec<_> = watched.iter().map(|watched| watched.queue).collect();
    // One connection a server is enough.
    watched.truncate(if shared { 1 } else { watched.len() });
    Ok(redis_watch::watch(watched, Arc::clone(readiness), replica_watches(settings, &queues)?))
}

/// One for each server, as far as that is known. None if pushes wait for no replica.
fn replica_watches(settings: &Settings, queues: &[Queue]) -> Result<Vec<ReplicaWatch>, QueueError> {
    let wanted = settings.queue.replicas;
    let of_a_server = if settings.queues_share_a_server() { queues.len() } else { 1 };
    let servers = queues.chunks(of_a_server.max(1)).filter(|_queues| wanted > 0);
    let watch = |queues: &[Queue]| {
        let Some(&first) = queues.first() else { return Ok(None) };
        // A connection of its own, because WAIT blocks it.
        let producer = Producer::new(Arc::new(link(settings, first)?), &settings.queue.prefix, first);
        let producer = producer.confirmed_by(wanted);
        Ok(Some(ReplicaWatch { queues: queues.to_vec(), producer, wanted }))
    };
    servers.filter_map(|queues| watch(queues).transpose()).collect()
}

fn serve_limits(settings: &Settings) -> ServeLimits {
    ServeLimits {
        listener: "webhooks",
        max_connections: settings.api.max_connections,
        grace: GRACE,
        keep_alive: true,
        has_spare_file: false,
        header_timeout: settings.api.header_timeout,
        shutdown_timeout: settings.api.shutdown_timeout,
        idle_drain: IDLE_DRAIN,
    }
}

/// Runs `task` until the shutdown begins.
async fn until(shutdown: CancellationToken, task: impl Future<Output = Infallible>) {
    tokio::select! {
        never = task => match never {},
        () = shutdown.cancelled() => {}
    }
}

/// Waits for a task that panics. The others may end.
async fn any_panic(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn close_readiness(readiness: Arc<Readiness>, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    readiness.set_stopping();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_noticed_also_after_other_tasks_have_ended() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, any_panic(&mut tasks)).await.is_err(), "nothing has panicked yet");
        tasks.spawn(async { panic!("on purpose") });
        tokio::time::timeout(Duration::from_secs(10), any_panic(&mut tasks)).await.unwrap();
    }
}

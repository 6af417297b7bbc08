//! From settings and a listener to a running API, and to its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::QueueError;
use fleet_runtime::http::{ServeLimits, serve};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::redis_watch::{PushedQueues, Reports, watch_redis};
use fleet_runtime::settings::Settings;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::group_commit::Shares;
use crate::handler::Handler;
use crate::outcome_record::OutcomeRecord;
use crate::source::Source;
use crate::source_settings::SourceSettings;
use crate::{metrics, refusals, secrets};

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
    let watching = watch(settings, &sources, &readiness)?;
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

/// Watches Redis. The API stays ready if Redis fails later: otherwise every replica would leave the load balancer at once, and
/// providers would receive no 503. The future ends only if Redis can never be used.
fn watch(
    settings: &Settings,
    sources: &[SourceSettings],
    readiness: &Arc<Readiness>,
) -> Result<impl Future<Output = QueueError> + use<>, QueueError> {
    let pushed = sources.iter().map(|source| PushedQueues {
        queues: source.queues.clone(),
        max_backlog_bytes: source.max_backlog_bytes,
    });
    let reports = Reports {
        error: metrics::redis_error,
        weaknesses: metrics::redis_weaknesses,
        replicas_missing: metrics::redis_replicas_missing,
        unconfirmed: "webhooks are answered 503",
    };
    let readiness = Arc::clone(readiness);
    watch_redis(settings, &pushed.collect::<Vec<_>>(), reports, move || readiness.set_started())
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

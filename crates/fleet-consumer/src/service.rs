//! Runs the consumer: workers on every queue, and observers of what they do.

mod leftovers;
mod observers;
mod schemas;
mod supervision;
mod workers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::QueueError;
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::Settings;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connect::Databases;
use crate::error::ConsumerError;
use crate::metrics;
use crate::observe::queues::WatchedQueues;
use crate::queues::KnownQueues;
use crate::service::leftovers::Leftovers;
use crate::service::schemas::Schemas;
use crate::service::supervision::{stop_if_observer_panics, wait_for_workers};
use crate::service::workers::{QueueWorkers, WorkersOfQueues};
use crate::write::database_health::DatabasesHealth;

/// Consumes every provider's queues until `shutdown`. Then finishes the batches in progress, and releases those that are not
/// finished within the shutdown timeout. `program` is `fleet-consumer`: its child processes parse messages in isolation.
///
/// # Errors
///
/// [`ConsumerError`]. An unreachable server is no error: the consumer waits for it.
pub async fn run(
    settings: &Settings,
    program: PathBuf,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    metrics::describe();
    metrics::queues::shards(settings);
    let databases = Databases::new(settings)?;
    let health = DatabasesHealth::default();
    let workers = WorkersOfQueues::new(settings, &databases, &health, program);
    let queues: Result<Vec<QueueWorkers>, QueueError> =
        settings.queues().map(|queue| workers.open(queue)).collect();
    let queues = queues?;
    let known = KnownQueues::open(settings)?;
    let mut schemas = Schemas::look(&databases, &health, &settings.consumer);
    tokio::select! {
        ready = schemas.first() => ready?,
        () = shutdown.cancelled() => return Ok(()),
    }
    tracing::info!(queues = queues.len(), "consuming");

    let deadline = CancellationToken::new();
    let longest_wait = longest_wait(settings);
    let mut tasks = JoinSet::new();
    tasks.spawn(set_ready(schemas, Arc::clone(&readiness), shutdown.clone()));
    for queue in queues {
        queue.spawn(&mut tasks, readiness.liveness(), longest_wait, &shutdown, &deadline);
    }
    let (busy_unnamed, busy) = watch::channel(BTreeSet::new());
    let leftovers = Leftovers { workers, busy, liveness: readiness.liveness().clone(), longest_wait };
    tasks.spawn(leftovers.run(shutdown.clone(), deadline.clone()));
    let watching = WatchedQueues { known, busy_unnamed };
    let observers = observers::start(settings, databases, watching, readiness.liveness(), longest_wait);
    let timeout = settings.consumer.shutdown_timeout;
    let consuming = wait_for_workers(tasks, timeout, &readiness, &shutdown, &deadline);
    stop_if_observer_panics(consuming, observers, &shutdown).await
}

/// Makes the consumer ready once both schemas are there.
async fn set_ready(
    schemas: Schemas,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    tokio::select! {
        ready = schemas.rest() => ready?,
        () = shutdown.cancelled() => return Ok(()),
    }
    readiness.set_started();
    Ok(())
}

/// The longest time for which a task of the consumer waits for one thing: a statement, a reply, a pause.
fn longest_wait(settings: &Settings) -> Duration {
    let consumer = &settings.consumer;
    let statement = settings.database.statement_timeout + settings.database.connect_timeout;
    let pauses = [consumer.retry_max, consumer.poll_max, consumer.status_interval, settings.queue.timeout];
    pauses.into_iter().fold(statement, Duration::max)
}

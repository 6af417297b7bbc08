//! From settings to running workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_providers::{Limits, PROVIDERS, Provider};
use fleet_queue::{Consumer, QueueError};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::Settings;
use fleet_store::{StateStore, StoreError, TelemetryStore};
use jiff::SignedDuration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::health::DatabaseHealth;
use crate::metrics;
use crate::new_vehicles::NewVehicles;
use crate::schemas::Schemas;
use crate::suspects::Judge;
use crate::throttle::Throttle;
use crate::witness::{self, Witnesses};
use crate::worker::{Worker, WorkerError};
use crate::write::Writer;
use crate::{connect, observe};

pub use connect::{Databases, check};

/// Why the consumer could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Redis' URL.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A batch cannot be stored.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A defect.
    #[error(
        "a task panicked; a batch it had stays leased for the next consumer. Please report it with the log"
    )]
    Panic,
}

impl ConsumerError {
    /// The settings name a server that cannot be used: no restart helps, other settings do.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Queue(error) | Self::Worker(WorkerError::Queue(error)) => error.is_permanent(),
            Self::Store(_) | Self::Worker(WorkerError::Store { .. }) | Self::Panic => false,
        }
    }
}

/// Works on every provider's queue until `shutdown`, then finishes the batches at work, or releases them when their time
/// is up. `program` is `fleet-consumer`, of which children are started to judge messages that may end whoever parses them.
///
/// # Errors
///
/// [`ConsumerError`]. Unreachable services are no error: it waits for them.
pub async fn run(
    settings: &Settings,
    program: PathBuf,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    metrics::describe();
    let databases = Databases::new(settings)?;
    let health = DatabaseHealth::default();
    let workers = workers(settings, &databases, &health, program)?;
    let mut schemas = Schemas::look(&databases, &health, &settings.consumer);
    tokio::select! {
        ready = schemas.first() => ready?,
        () = shutdown.cancelled() => return Ok(()),
    }
    tracing::info!(queues = workers.len(), "consuming");

    let deadline = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(start(schemas, Arc::clone(&readiness), shutdown.clone()));
    let longest_wait = longest_wait(settings);
    for worker in workers {
        let worker = Arc::new(worker);
        for number in 0..settings.consumer.batches_in_flight.max(1) {
            let (worker, shutdown, deadline) = (Arc::clone(&worker), shutdown.clone(), deadline.clone());
            let task = format!("worker {} {}", worker.queue(), number + 1);
            let run = async move { Ok(worker.run(&shutdown, &deadline).await?) };
            tasks.spawn(readiness.liveness().watch(task, longest_wait, run));
        }
        let (shutdown, deadline) = (shutdown.clone(), deadline.clone());
        let task = format!("worker {} parked", worker.queue());
        let run = async move { Ok(worker.run_parked(&shutdown, &deadline).await?) };
        tasks.spawn(readiness.liveness().watch(task, longest_wait, run));
    }
    let observers = observers(settings, databases, &readiness)?;
    let consuming = supervise(tasks, settings.consumer.shutdown_timeout, &readiness, &shutdown, &deadline);
    watch_over(consuming, observers, &shutdown).await
}

/// Makes the consumer ready once both schemas are there.
async fn start(
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

/// Starts what shows how things are.
fn observers(
    settings: &Settings,
    databases: Databases,
    readiness: &Readiness,
) -> Result<JoinSet<()>, ConsumerError> {
    let (every, prefix) = (settings.consumer.status_interval, settings.queue.prefix.clone());
    let longest_wait = longest_wait(settings);
    let mut observers = JoinSet::new();
    let queues = observe::queues(connect::redis_link(settings)?, prefix, every);
    observers.spawn(readiness.liveness().watch("queue observer".to_owned(), longest_wait, queues));
    let keys = connect::keys_of_one_queue(settings);
    let durability = observe::durability(connect::redis_link(settings)?, keys);
    observers.spawn(readiness.liveness().watch("durability observer".to_owned(), longest_wait, durability));
    let witness = witness::watch(Witnesses::new(settings, &databases)?, every);
    observers.spawn(readiness.liveness().watch("witness".to_owned(), longest_wait, witness));
    let pools = observe::pools(databases, every);
    observers.spawn(readiness.liveness().watch("pool observer".to_owned(), longest_wait, pools));
    Ok(observers)
}

/// Waits for the workers. Observers do not end by themselves: if one panics, the workers are stopped, because nobody could
/// see any more what they do.
async fn watch_over(
    consuming: impl Future<Output = Result<(), ConsumerError>>,
    mut observers: JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), ConsumerError> {
    let mut consuming = std::pin::pin!(consuming);
    tokio::select! {
        result = &mut consuming => result,
        Some(_panicked) = observers.join_next() => {
            shutdown.cancel();
            consuming.await.and(Err(ConsumerError::Panic))
        }
    }
}

/// The longest time for which a task of the consumer waits for one thing: a statement, a reply, a pause.
fn longest_wait(settings: &Settings) -> Duration {
    let consumer = &settings.consumer;
    let statement = settings.database.statement_timeout + settings.database.connect_timeout;
    let pauses = [consumer.retry_max, consumer.poll_max, consumer.status_interval, settings.queue.timeout];
    pauses.into_iter().fold(statement, Duration::max)
}

/// Waits for the workers. The first one that fails stops the others.
async fn supervise(
    mut tasks: JoinSet<Result<(), ConsumerError>>,
    shutdown_timeout: Duration,
    readiness: &Readiness,
    shutdown: &CancellationToken,
    deadline: &CancellationToken,
) -> Result<(), ConsumerError> {
    let limit = async {
        shutdown.cancelled().await;
        readiness.set_stopping();
        tokio::time::sleep(shutdown_timeout).await;
        deadline.cancel();
        std::future::pending::<()>().await;
    };
    let all = async {
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            let ended = match ended {
                Ok(ended) => ended,
                Err(_panicked) => Err(ConsumerError::Panic),
            };
            if ended.is_err() {
                shutdown.cancel();
                result = result.and(ended);
            }
        }
        result
    };
    tokio::select! {
        result = all => result,
        () = limit => Ok(()),
    }
}

fn workers(
    settings: &Settings,
    databases: &Databases,
    health: &DatabaseHealth,
    program: PathBuf,
) -> Result<Vec<Worker>, QueueError> {
    let judge = Arc::new(Judge::new(program));
    let throttle = Arc::new(Throttle::new(settings.consumer.max_events_per_second));
    let days = i64::from(settings.retention.telemetry_days);
    let limits = Limits { max_age: SignedDuration::from_hours(days * 24), ..Limits::default() };
    let worker = |provider: &'static Provider| {
        // A link each, so that one queue's batches never wait behind another's.
        let link = Arc::new(connect::redis_link(settings)?);
        let consumer = Consumer::new(link, &settings.queue.prefix, provider.slug);
        let writer = Writer {
            state: StateStore::new(databases.state.clone()),
            telemetry: TelemetryStore::new(databases.telemetry.clone()),
            health: health.clone(),
            new_vehicles: settings
                .providers
                .get(provider.slug)
                .and_then(|given| given.max_new_vehicles_per_minute)
                .map(NewVehicles::new),
            max_records: settings.consumer.max_transaction_events,
            retry_min: settings.consumer.retry_min,
            retry_max: settings.consumer.retry_max,
        };
        let (settings, throttle, judge) =
            (settings.consumer.clone(), Arc::clone(&throttle), Arc::clone(&judge));
        Ok(Worker::new(provider, limits, consumer, settings, writer, throttle, judge))
    };
    PROVIDERS.iter().map(worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a consumer says whose tasks do this.
    async fn supervised(
        worker: impl Future<Output = ()> + Send + 'static,
        observer: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ConsumerError> {
        let (shutdown, deadline) = (CancellationToken::new(), CancellationToken::new());
        let (mut workers, mut observers) = (JoinSet::new(), JoinSet::new());
        workers.spawn(async {
            worker.await;
            Ok(())
        });
        // A worker that ends only if it is told to.
        let told = shutdown.clone().cancelled_owned();
        workers.spawn(async {
            told.await;
            Ok(())
        });
        observers.spawn(observer);
        let readiness = Readiness::default();
        let consuming = supervise(workers, Duration::from_secs(30), &readiness, &shutdown, &deadline);
        watch_over(consuming, observers, &shutdown).await
    }

    #[tokio::test]
    async fn a_worker_that_panics_ends_the_consumer() {
        let ended = supervised(async { panic!("on purpose") }, std::future::pending()).await;
        assert!(matches!(ended, Err(ConsumerError::Panic)), "{ended:?}");
    }

    #[tokio::test]
    async fn an_observer_that_panics_ends_the_consumer() {
        let ended = supervised(async {}, async { panic!("on purpose") }).await;
        assert!(matches!(ended, Err(ConsumerError::Panic)), "{ended:?}");
    }
}

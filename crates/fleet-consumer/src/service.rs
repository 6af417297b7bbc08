//! From settings to running workers.

use std::sync::Arc;
use std::time::Duration;

use fleet_providers::{Limits, PROVIDERS, Provider};
use fleet_queue::{Consumer, Observer, QueueError, RedisLink, RedisMemory};
use fleet_runtime::admin::Readiness;
use fleet_runtime::settings::{Settings, SettingsError};
use fleet_store::{
    Database, DatabaseSettings, Schema, StateStore, StoreError, TelemetryStore, missing_migrations,
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::throttle::Throttle;
use crate::worker::{Worker, WorkerError};
use crate::write::Writer;

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

/// Both databases; one pool if they are the same.
#[derive(Clone, Debug)]
pub struct Databases {
    /// `vehicles`.
    pub state: Database,
    /// `telemetry` and `dead_letters`.
    pub telemetry: Database,
}

impl Databases {
    /// Prepares the pools.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`].
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        let (pool, ca_file) = (pool(settings), settings.tls.ca_file.as_deref());
        let state = Database::trusting(ca_file, settings.database_url.expose(), pool)?;
        let telemetry = match &settings.telemetry_database_url {
            Some(url) if *url != settings.database_url => Database::trusting(ca_file, url.expose(), pool)?,
            Some(_) | None => state.clone(),
        };
        Ok(Self { state, telemetry })
    }
}

/// Makes sure that every URL the consumer needs can be used.
///
/// # Errors
///
/// Each one that cannot, at once.
pub fn check(settings: &Settings) -> Result<(), SettingsError> {
    let mut errors = Vec::new();
    if let Err(error) = RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    ) {
        errors.push(format!("FLEET_REDIS_URL: {error}"));
    }
    let state = Some(("FLEET_DATABASE_URL", &settings.database_url));
    let telemetry = settings.telemetry_database_url.as_ref().map(|url| ("FLEET_TELEMETRY_DATABASE_URL", url));
    for (variable, url) in state.into_iter().chain(telemetry) {
        if let Err(error) = Database::trusting(settings.tls.ca_file.as_deref(), url.expose(), pool(settings))
        {
            errors.push(format!("{variable}: {error}"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(SettingsError(errors)) }
}

fn pool(settings: &Settings) -> DatabaseSettings {
    DatabaseSettings {
        pool_size: settings.database.pool_size,
        connect_timeout: settings.database.connect_timeout,
        statement_timeout: settings.database.statement_timeout,
    }
}

/// Works on every provider's queue until `shutdown`, then finishes the batches at work, or releases them when their time
/// is up.
///
/// # Errors
///
/// [`ConsumerError`]. Unreachable services are no error: it waits for them.
pub async fn run(
    settings: &Settings,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<(), ConsumerError> {
    metrics::describe();
    let databases = Databases::new(settings)?;
    let workers = workers(settings, &databases)?;
    let schema = async {
        wait_for_schema(&databases.state, Schema::State, &settings.consumer).await?;
        wait_for_schema(&databases.telemetry, Schema::Telemetry, &settings.consumer).await
    };
    tokio::select! {
        ready = schema => ready?,
        () = shutdown.cancelled() => return Ok(()),
    }
    readiness.set_started();
    tracing::info!(queues = workers.len(), "consuming");

    let deadline = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let longest_wait = longest_wait(settings);
    for worker in workers {
        let worker = Arc::new(worker);
        for number in 0..settings.consumer.batches_in_flight.max(1) {
            let (worker, shutdown, deadline) = (Arc::clone(&worker), shutdown.clone(), deadline.clone());
            let task = format!("worker {} {}", worker.queue(), number + 1);
            let run = async move { worker.run(&shutdown, &deadline).await };
            tasks.spawn(readiness.liveness().watch(task, longest_wait, run));
        }
    }
    let mut observers = JoinSet::new();
    let observing = observe(settings.clone());
    observers.spawn(readiness.liveness().watch("queue observer".to_owned(), longest_wait, observing));
    let observing = observe_pools(databases, settings.consumer.status_interval);
    observers.spawn(readiness.liveness().watch("pool observer".to_owned(), longest_wait, observing));
    let consuming = supervise(tasks, settings.consumer.shutdown_timeout, &readiness, &shutdown, &deadline);
    watch_over(consuming, observers, &shutdown).await
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
    mut tasks: JoinSet<Result<(), WorkerError>>,
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
                Ok(ended) => ended.map_err(ConsumerError::from),
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

fn workers(settings: &Settings, databases: &Databases) -> Result<Vec<Worker>, QueueError> {
    let throttle = Arc::new(Throttle::new(settings.consumer.max_events_per_second));
    let days = i64::from(settings.retention.telemetry_days);
    let limits = Limits { max_age: SignedDuration::from_hours(days * 24), ..Limits::default() };
    let worker = |provider: &'static Provider| {
        // A link each, so that one queue's batches never wait behind another's.
        let link = Arc::new(RedisLink::trusting(
            settings.tls.ca_file.as_deref(),
            settings.redis_url.expose(),
            settings.queue.timeout,
        )?);
        let consumer = Consumer::new(link, &settings.queue.prefix, provider.slug);
        let writer = Writer {
            state: StateStore::new(databases.state.clone()),
            telemetry: TelemetryStore::new(databases.telemetry.clone()),
            max_records: settings.consumer.max_transaction_events,
            retry_min: settings.consumer.retry_min,
            retry_max: settings.consumer.retry_max,
        };
        Ok(Worker::new(provider, limits, consumer, settings.consumer.clone(), writer, Arc::clone(&throttle)))
    };
    PROVIDERS.iter().map(worker).collect()
}

async fn wait_for_schema(
    database: &Database,
    schema: Schema,
    settings: &fleet_runtime::settings::ConsumerSettings,
) -> Result<(), StoreError> {
    let mut pause = settings.retry_min;
    loop {
        match missing_migrations(database, schema).await {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => tracing::warn!(?schema, ?missing, "waiting for `fleet-consumer migrate`"),
            Err(error @ StoreError::Timescale(_)) => return Err(error),
            Err(error) => tracing::warn!(?schema, %error, "waiting for the database"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(settings.retry_max);
    }
}

/// Shows every queue's state as metrics.
async fn observe(settings: Settings) {
    let Ok(link) = RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    ) else {
        return;
    };
    let link = Arc::new(link);
    let mut interval = tokio::time::interval(settings.consumer.status_interval);
    loop {
        interval.tick().await;
        match RedisMemory::read(&link).await {
            Ok(memory) => metrics::redis_memory(memory),
            // A user that may not run INFO is no reason to fail; then there is no such metric.
            Err(error) => tracing::debug!(%error, "cannot see how full Redis is"),
        }
        for provider in PROVIDERS {
            let observer = Observer::new(Arc::clone(&link), &settings.queue.prefix, provider.slug);
            match observer.status().await {
                Ok(status) => metrics::queue(provider.slug, &status, Timestamp::now()),
                Err(error) => metrics::redis_error(error.kind()),
            }
        }
    }
}

/// Shows how busy the pools are.
async fn observe_pools(databases: Databases, every: Duration) {
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

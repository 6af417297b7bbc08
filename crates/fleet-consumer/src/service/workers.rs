//! From settings to the workers of each queue.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_providers::{Limits, PROVIDERS, Provider};
use fleet_queue::{Consumer, Queue, QueueError};
use fleet_runtime::liveness::Liveness;
use fleet_runtime::settings::Settings;
use fleet_store::{StateStore, TelemetryStore};
use jiff::SignedDuration;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::unused_values::UnusedValues;
use crate::connect::{Databases, redis_link};
use crate::error::ConsumerError;
use crate::isolate::isolated_parser::IsolatedParser;
use crate::lease::poller::Poller;
use crate::lease::redis_calls::RedisCalls;
use crate::rate_limit::RateLimit;
use crate::worker::Worker;
use crate::worker::parked::ParkedWorker;
use crate::worker::pipeline::Pipeline;
use crate::worker::processor::BatchProcessor;
use crate::write::database_health::DatabasesHealth;
use crate::write::new_vehicle_limit::NewVehicleLimit;
use crate::write::state::StateWriter;
use crate::write::telemetry::TelemetryWriter;
use crate::write::transactions::Transactions;
use crate::write::writer::Writer;

/// How many batches of a consumer may be large at a time, over all queues. They need about 35 MiB each.
const LARGE_BATCHES: usize = 2;

/// The workers of one queue.
#[derive(Debug)]
pub(super) struct QueueWorkers {
    queue: Queue,
    worker: Arc<Worker>,
    parked: ParkedWorker,
    /// How many loops claim batches.
    loops: usize,
}

impl QueueWorkers {
    /// Starts every loop of this queue.
    pub(super) fn spawn(
        self,
        tasks: &mut JoinSet<Result<(), ConsumerError>>,
        liveness: &Liveness,
        longest_wait: Duration,
        shutdown: &CancellationToken,
        deadline: &CancellationToken,
    ) {
        let Self { queue, worker, parked, loops } = self;
        for number in 1..=loops {
            let (worker, shutdown, deadline) = (Arc::clone(&worker), shutdown.clone(), deadline.clone());
            let run = async move { Ok(worker.run(&shutdown, &deadline).await?) };
            tasks.spawn(liveness.watch(format!("worker {queue} {number}"), longest_wait, run));
        }
        let (shutdown, deadline) = (shutdown.clone(), deadline.clone());
        let run = async move { Ok(parked.run(&shutdown, &deadline).await?) };
        tasks.spawn(liveness.watch(format!("worker {queue} parked"), longest_wait, run));
    }
}

/// Opens the workers of queues.
#[derive(Debug)]
pub(super) struct WorkersOfQueues {
    settings: Settings,
    /// What parses and writes the batches of each provider, by its slug. Its queues share it.
    pipelines: BTreeMap<&'static str, Arc<Pipeline>>,
    large_batches: Arc<Semaphore>,
}

impl WorkersOfQueues {
    pub(super) fn new(
        settings: &Settings,
        databases: &Databases,
        health: &DatabasesHealth,
        program: PathBuf,
    ) -> Self {
        let isolated_parser = Arc::new(IsolatedParser::new(program));
        let rate_limit = Arc::new(RateLimit::new(settings.consumer.max_events_per_second));
        let days = i64::from(settings.retention.telemetry_days);
        let limits = Limits { max_age: SignedDuration::from_hours(days * 24), ..Limits::default() };
        let pipeline = |provider: &'static Provider| {
            let pipeline = Pipeline {
                provider,
                limits,
                max_rows: settings.consumer.max_transaction_events,
                isolated_parser: Arc::clone(&isolated_parser),
                unused_values: UnusedValues::new(provider.slug),
                rate_limit: Arc::clone(&rate_limit),
                writer: writer(settings, databases, health, provider),
            };
            (provider.slug, Arc::new(pipeline))
        };
        Self {
            settings: settings.clone(),
            pipelines: PROVIDERS.iter().map(pipeline).collect(),
            large_batches: Arc::new(Semaphore::new(LARGE_BATCHES)),
        }
    }

    /// How many shards the settings give the provider.
    pub(super) fn shards(&self, provider: &str) -> u8 {
        self.settings.shards(provider)
    }

    /// The workers of one queue.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(super) fn open(&self, queue: Queue) -> Result<QueueWorkers, QueueError> {
        // Each queue has its own connection, so that no queue's batches wait for another's.
        let link = redis_link(&self.settings, queue)?;
        let consumer = Consumer::new(link, &self.settings.queue.prefix, queue)
            .confirmed_by(self.settings.queue.replicas);
        let settings = &self.settings.consumer;
        let calls = Arc::new(RedisCalls::new(queue));
        let poller =
            Poller::new(consumer.clone(), Arc::clone(&calls), settings, Arc::clone(&self.large_batches));
        let processor = Arc::new(BatchProcessor {
            queue,
            consumer: consumer.clone(),
            settings: settings.clone(),
            calls: Arc::clone(&calls),
            pipeline: Arc::clone(&self.pipelines[queue.provider()]),
        });
        let worker = Worker {
            poller: Mutex::new(poller),
            processor: Arc::clone(&processor),
            retries: settings.retries(),
        };
        let parked = ParkedWorker {
            queue,
            consumer,
            calls,
            processor,
            lease: settings.lease,
            retry_max: settings.retry_max,
        };
        Ok(QueueWorkers { queue, worker: Arc::new(worker), parked, loops: self.loops(queue) })
    }

    /// How many batches of a queue may be in flight: the provider's, divided over its shards. One for a queue that the settings
    /// do not name, because there may be many of them.
    fn loops(&self, queue: Queue) -> usize {
        if !self.settings.queues_of(queue.provider()).any(|named| named == queue) {
            return 1;
        }
        let shards = usize::from(self.shards(queue.provider())).max(1);
        (self.settings.consumer.batches_in_flight / shards).max(1)
    }
}

fn writer(
    settings: &Settings,
    databases: &Databases,
    health: &DatabasesHealth,
    provider: &Provider,
) -> Writer {
    let transactions = Transactions {
        health: health.clone(),
        max_rows: settings.consumer.max_transaction_events,
        retries: settings.consumer.retries(),
    };
    let new_vehicles = settings
        .providers
        .get(provider.slug)
        .and_then(|given| given.max_new_vehicles_per_minute)
        .map(NewVehicleLimit::new);
    let telemetry = TelemetryStore::new(databases.telemetry.clone());
    Writer {
        state: StateWriter {
            state: StateStore::new(databases.state.clone()),
            telemetry: telemetry.clone(),
            new_vehicles,
            transactions: transactions.clone(),
        },
        telemetry: TelemetryWriter { telemetry, transactions },
        health: health.clone(),
    }
}

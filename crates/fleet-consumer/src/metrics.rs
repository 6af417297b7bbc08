//! Every metric of the consumer and of the queues. docs/observability.md says what each is for; a test compares the two.

use std::time::{Duration, Instant};

use fleet_providers::PROVIDERS;
use fleet_queue::QueueError;
use fleet_runtime::metrics::Buckets;
use fleet_store::{PoolUsage, StoreError};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

pub(crate) use self::dropped::DroppedCounts;
pub use self::queues::{queue, redis_memory};
pub(crate) use self::queues::{redis_weaknesses, unaccounted};
use crate::batch::reasons;

mod dropped;
mod queues;

const MESSAGES: &str = "fleet_consumer_messages_total";
const EVENTS: &str = "fleet_consumer_events_total";
const SKEWED_EVENTS: &str = "fleet_consumer_clock_skewed_events_total";
const FOLDED_EVENTS: &str = "fleet_consumer_folded_events_total";
const VEHICLE_UPDATES: &str = "fleet_consumer_vehicle_updates_total";
const NEW_VEHICLES: &str = "fleet_consumer_new_vehicles_total";
const DEAD_LETTERS: &str = "fleet_consumer_dead_letters_total";
const BATCH_SIZE: &str = "fleet_consumer_batch_messages";
const BATCH_DURATION: &str = "fleet_consumer_batch_duration_seconds";
const FRESHNESS: &str = "fleet_consumer_freshness_seconds";
const LEASES: &str = "fleet_consumer_leases_total";
const HEARTBEATS: &str = "fleet_consumer_heartbeats_total";
const STATEMENT_DURATION: &str = "fleet_consumer_database_statement_duration_seconds";
const DATABASE_RETRIES: &str = "fleet_consumer_database_retries_total";
const SIDE_AWAY: &str = "fleet_consumer_database_away";
const SPLITS: &str = "fleet_consumer_splits_total";
const POOL_IN_USE: &str = "fleet_consumer_pool_in_use_connections";
const POOL_OPEN: &str = "fleet_consumer_pool_open_connections";
const POOL_MAX: &str = "fleet_consumer_pool_max_connections";
const POOL_WAITING: &str = "fleet_consumer_pool_waiting_tasks";
const REDIS_ERRORS: &str = "fleet_consumer_redis_errors_total";

const WORK_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// As far as a backlog after an outage reaches.
const FRESHNESS_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
const SIZE_BUCKETS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 4] = [
    (BATCH_SIZE, &SIZE_BUCKETS),
    (BATCH_DURATION, &WORK_BUCKETS),
    (STATEMENT_DURATION, &WORK_BUCKETS),
    (FRESHNESS, &FRESHNESS_BUCKETS),
];

/// Says what each metric means, and shows every counter with its first zero: `rate()` sees the first event then.
pub fn describe() {
    describe_batches();
    describe_databases();
    queues::describe();
    dropped::describe();
    for provider in PROVIDERS {
        show_provider(provider.slug);
    }
    for side in Side::ALL {
        for class in StoreError::LABELS {
            counter!(DATABASE_RETRIES, "side" => side.name(), "class" => class).increment(0);
        }
        let _shown = histogram!(STATEMENT_DURATION, "side" => side.name());
        side_away(side, false);
    }
    for &kind in QueueError::KINDS {
        counter!(REDIS_ERRORS, "kind" => kind).increment(0);
    }
}

fn describe_batches() {
    describe_counter!(MESSAGES, "Messages settled, by what became of them");
    describe_counter!(EVENTS, "Events settled, by what became of them in telemetry");
    describe_counter!(SKEWED_EVENTS, "Events with a time that cannot be true or cannot be read");
    describe_counter!(FOLDED_EVENTS, "Events folded into the vehicles' current state");
    describe_counter!(
        VEHICLE_UPDATES,
        "Rows of vehicles written; the events folded divided by them are the fold ratio"
    );
    describe_counter!(NEW_VEHICLES, "Vehicles that were not known before");
    describe_counter!(DEAD_LETTERS, "Dead letters, by reason");
    describe_histogram!(BATCH_SIZE, "Messages in a batch");
    describe_histogram!(BATCH_DURATION, Unit::Seconds, "From parsing a batch to both commits");
    describe_histogram!(
        FRESHNESS,
        Unit::Seconds,
        "From receipt to both commits, of a batch's oldest message"
    );
    describe_counter!(LEASES, "Batches, by what happened to their leases");
    describe_counter!(HEARTBEATS, "Heartbeats of leases, by outcome");
    describe_counter!(SPLITS, "Transactions halved, by cause");
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis, by kind");
}

fn describe_databases() {
    describe_histogram!(
        STATEMENT_DURATION,
        Unit::Seconds,
        "One try to store a part of a batch, the wait for a connection and failed tries included"
    );
    describe_counter!(DATABASE_RETRIES, "Transactions tried again, by class of SQLSTATE or kind of failure");
    describe_gauge!(
        SIDE_AWAY,
        "1 while a database takes nothing, and batches that the other one has are set aside for it"
    );
    describe_gauge!(POOL_IN_USE, "Database connections at work");
    describe_gauge!(POOL_OPEN, "Database connections open, idle ones included");
    describe_gauge!(POOL_MAX, "Database connections the pool may open");
    describe_gauge!(POOL_WAITING, "Tasks that wait for a database connection");
}

fn show_provider(provider: &'static str) {
    dropped::show_provider(provider);
    for (outcome, count) in BatchCounts::default().messages() {
        counter!(MESSAGES, "provider" => provider, "outcome" => outcome).increment(count);
    }
    for (outcome, count) in BatchCounts::default().events() {
        counter!(EVENTS, "provider" => provider, "outcome" => outcome).increment(count);
    }
    for name in [SKEWED_EVENTS, FOLDED_EVENTS, VEHICLE_UPDATES, NEW_VEHICLES] {
        counter!(name, "provider" => provider).increment(0);
    }
    for reason in reasons() {
        counter!(DEAD_LETTERS, "provider" => provider, "reason" => reason).increment(0);
    }
    for fate in LeaseFate::ALL {
        counter!(LEASES, "provider" => provider, "fate" => fate.name()).increment(0);
    }
    for beat in Heartbeat::ALL {
        counter!(HEARTBEATS, "provider" => provider, "outcome" => beat.name()).increment(0);
    }
    for cause in SplitCause::ALL {
        counter!(SPLITS, "provider" => provider, "cause" => cause.name()).increment(0);
    }
    for name in [BATCH_SIZE, BATCH_DURATION, FRESHNESS] {
        let _shown = histogram!(name, "provider" => provider);
    }
}

/// The two sides of every write.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// `vehicles`.
    State,
    /// `telemetry` and `dead_letters`.
    Telemetry,
}

impl Side {
    const ALL: [Self; 2] = [Self::State, Self::Telemetry];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Telemetry => "telemetry",
        }
    }
}

/// What a heartbeat came to.
#[derive(Clone, Copy, Debug)]
pub enum Heartbeat {
    /// The batch is still this consumer's.
    Extended,
    /// Another consumer has it.
    Lost,
    /// Redis did not answer, or refused.
    Failed,
}

impl Heartbeat {
    const ALL: [Self; 3] = [Self::Extended, Self::Lost, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

/// Why a transaction is halved.
#[derive(Clone, Copy, Debug)]
pub enum SplitCause {
    /// The database refuses one of its records.
    Poison,
    /// It took too long twice.
    Slow,
}

impl SplitCause {
    const ALL: [Self; 2] = [Self::Poison, Self::Slow];

    fn name(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::Slow => "slow",
        }
    }
}

/// What became of a lease.
#[derive(Clone, Copy, Debug)]
pub enum LeaseFate {
    /// Claimed from the queue.
    Claimed,
    /// Taken over from a consumer that let it expire, or released it.
    TakenOver,
    /// Stored and acked.
    Settled,
    /// Another consumer has taken it over.
    Lost,
    /// Given up at shutdown.
    Released,
    /// Set aside, as one database has its part and the other one takes nothing.
    Parked,
    /// Taken up again after it was set aside.
    Resumed,
    /// Given up for a minute, as it cannot be judged whether a message of it ends whoever parses it.
    Undecided,
}

impl LeaseFate {
    const ALL: [Self; 8] = [
        Self::Claimed,
        Self::TakenOver,
        Self::Settled,
        Self::Lost,
        Self::Released,
        Self::Parked,
        Self::Resumed,
        Self::Undecided,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::TakenOver => "taken_over",
            Self::Settled => "settled",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::Parked => "parked",
            Self::Resumed => "resumed",
            Self::Undecided => "undecided",
        }
    }
}

/// Counts a lease.
pub fn lease(provider: &'static str, fate: LeaseFate) {
    counter!(LEASES, "provider" => provider, "fate" => fate.name()).increment(1);
}

/// What one batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Messages with at least one event.
    pub applied: u64,
    /// Messages without an event that can be stored.
    pub dead: u64,
    /// Messages with no event at all.
    pub empty: u64,
    /// New rows of telemetry.
    pub inserted: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Events, and whole messages, that became dead letters.
    pub dead_lettered: u64,
    /// Events with a time that is not believed.
    pub skewed: u64,
}

impl BatchCounts {
    /// Counts a message that has an event, or one without any that can be stored.
    pub(crate) fn note_message(&mut self, has_event: bool) {
        let count = if has_event { &mut self.applied } else { &mut self.dead };
        *count += 1;
    }

    /// Adds what another part of the same batch came to.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { applied, dead, empty, inserted, duplicate, dead_lettered, skewed } = other;
        self.applied += applied;
        self.dead += dead;
        self.empty += empty;
        self.inserted += inserted;
        self.duplicate += duplicate;
        self.dead_lettered += dead_lettered;
        self.skewed += skewed;
    }

    fn messages(self) -> [(&'static str, u64); 3] {
        [("applied", self.applied), ("dead_lettered", self.dead), ("empty", self.empty)]
    }

    fn events(self) -> [(&'static str, u64); 3] {
        [("inserted", self.inserted), ("duplicate", self.duplicate), ("dead_lettered", self.dead_lettered)]
    }
}

/// Notes a settled batch.
pub fn settled(
    provider: &'static str,
    counts: BatchCounts,
    messages: usize,
    duration: Duration,
    age: Duration,
) {
    for (outcome, count) in counts.messages() {
        counter!(MESSAGES, "provider" => provider, "outcome" => outcome).increment(count);
    }
    for (outcome, count) in counts.events() {
        counter!(EVENTS, "provider" => provider, "outcome" => outcome).increment(count);
    }
    counter!(SKEWED_EVENTS, "provider" => provider).increment(counts.skewed);
    histogram!(BATCH_SIZE, "provider" => provider).record(u32::try_from(messages).unwrap_or(u32::MAX));
    histogram!(BATCH_DURATION, "provider" => provider).record(duration);
    histogram!(FRESHNESS, "provider" => provider).record(age);
}

/// Counts a dead letter.
pub fn dead_letter(provider: &'static str, reason: &'static str) {
    counter!(DEAD_LETTERS, "provider" => provider, "reason" => reason).increment(1);
}

/// Notes what one part's events were folded to, and how many of the vehicles are new.
pub fn folded(provider: &'static str, events: usize, vehicles: usize, new_vehicles: u64) {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    counter!(FOLDED_EVENTS, "provider" => provider).increment(wide(events));
    counter!(VEHICLE_UPDATES, "provider" => provider).increment(wide(vehicles));
    counter!(NEW_VEHICLES, "provider" => provider).increment(new_vehicles);
}

/// Times one try to store something.
pub async fn timed<T>(side: Side, storing: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let stored = storing.await;
    histogram!(STATEMENT_DURATION, "side" => side.name()).record(started.elapsed());
    stored
}

/// Counts a transaction that is tried again.
pub fn database_retry(side: Side, class: &'static str) {
    counter!(DATABASE_RETRIES, "side" => side.name(), "class" => class).increment(1);
}

/// Shows whether a database takes anything.
pub(crate) fn side_away(side: Side, away: bool) {
    gauge!(SIDE_AWAY, "side" => side.name()).set(u8::from(away));
}

/// Counts a transaction that is halved.
pub fn split(provider: &'static str, cause: SplitCause) {
    counter!(SPLITS, "provider" => provider, "cause" => cause.name()).increment(1);
}

/// Counts a heartbeat.
pub fn heartbeat(provider: &'static str, beat: Heartbeat) {
    counter!(HEARTBEATS, "provider" => provider, "outcome" => beat.name()).increment(1);
}

/// Shows how busy a pool is.
pub fn pool(pool: &'static str, usage: PoolUsage) {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(POOL_IN_USE, "pool" => pool).set(float(usage.in_use));
    gauge!(POOL_OPEN, "pool" => pool).set(float(usage.open));
    gauge!(POOL_MAX, "pool" => pool).set(float(usage.max));
    gauge!(POOL_WAITING, "pool" => pool).set(float(usage.waiting));
}

/// Counts a failed call to Redis.
pub fn redis_error(kind: &'static str) {
    counter!(REDIS_ERRORS, "kind" => kind).increment(1);
}

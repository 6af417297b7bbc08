//! Every metric of the consumer and of the queues.

use std::time::Duration;

use fleet_queue::{QueueStatus, Volume};
use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const MESSAGES: &str = "fleet_consumer_messages_total";
const EVENTS: &str = "fleet_consumer_events_total";
const DEAD_LETTERS: &str = "fleet_consumer_dead_letters_total";
const BATCH_SIZE: &str = "fleet_consumer_batch_messages";
const BATCH_DURATION: &str = "fleet_consumer_batch_duration_seconds";
const FRESHNESS: &str = "fleet_consumer_freshness_seconds";
const LEASES: &str = "fleet_consumer_leases_total";
const DATABASE_RETRIES: &str = "fleet_consumer_database_retries_total";
const SPLITS: &str = "fleet_consumer_splits_total";
const REDIS_ERRORS: &str = "fleet_consumer_redis_errors_total";
const BACKLOG_MESSAGES: &str = "fleet_queue_backlog_messages";
const BACKLOG_BYTES: &str = "fleet_queue_backlog_bytes";
const LEASED_MESSAGES: &str = "fleet_queue_leased_messages";
const ACCEPTED_BYTES: &str = "fleet_queue_accepted_bytes_total";
const OLDEST_AGE: &str = "fleet_queue_oldest_age_seconds";
const BALANCED: &str = "fleet_queue_ledger_balanced";

/// Says what each metric means.
pub fn describe() {
    describe_counter!(MESSAGES, "Messages by provider and outcome");
    describe_counter!(EVENTS, "Events by provider and outcome");
    describe_counter!(DEAD_LETTERS, "Dead letters by provider and reason");
    describe_histogram!(BATCH_SIZE, "Messages in a batch");
    describe_histogram!(BATCH_DURATION, Unit::Seconds, "From a batch's claim to both commits");
    describe_histogram!(
        FRESHNESS,
        Unit::Seconds,
        "From a message's receipt to both commits, the oldest of a batch"
    );
    describe_counter!(LEASES, "Leases by provider and what happened to them");
    describe_counter!(DATABASE_RETRIES, "Transactions tried again, by class of SQLSTATE");
    describe_counter!(SPLITS, "Transactions halved, because of a slow or a poisonous one");
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis by kind");
    describe_gauge!(BACKLOG_MESSAGES, "Messages accepted but not settled");
    describe_gauge!(BACKLOG_BYTES, Unit::Bytes, "Bytes accepted but not settled");
    describe_gauge!(LEASED_MESSAGES, "Messages claimed but not settled");
    describe_counter!(ACCEPTED_BYTES, Unit::Bytes, "Bytes ever accepted");
    describe_gauge!(OLDEST_AGE, Unit::Seconds, "Age of the oldest message, waiting and leased");
    describe_gauge!(BALANCED, "1 if the queue holds what its ledger says");
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
}

impl LeaseFate {
    fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::TakenOver => "taken_over",
            Self::Settled => "settled",
            Self::Lost => "lost",
            Self::Released => "released",
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
}

/// Notes a settled batch.
pub fn settled(
    provider: &'static str,
    counts: BatchCounts,
    messages: usize,
    duration: Duration,
    age: Duration,
) {
    for (outcome, count) in
        [("applied", counts.applied), ("dead_lettered", counts.dead), ("empty", counts.empty)]
    {
        counter!(MESSAGES, "provider" => provider, "outcome" => outcome).increment(count);
    }
    let events = [
        ("inserted", counts.inserted),
        ("duplicate", counts.duplicate),
        ("dead_lettered", counts.dead_lettered),
    ];
    for (outcome, count) in events {
        counter!(EVENTS, "provider" => provider, "outcome" => outcome).increment(count);
    }
    histogram!(BATCH_SIZE, "provider" => provider).record(u32::try_from(messages).unwrap_or(u32::MAX));
    histogram!(BATCH_DURATION, "provider" => provider).record(duration);
    histogram!(FRESHNESS, "provider" => provider).record(age);
}

/// Counts a dead letter.
pub fn dead_letter(provider: &'static str, reason: &'static str) {
    counter!(DEAD_LETTERS, "provider" => provider, "reason" => reason).increment(1);
}

/// Counts a transaction that is tried again.
pub fn database_retry(class: String) {
    counter!(DATABASE_RETRIES, "class" => class).increment(1);
}

/// Counts a transaction that is halved.
pub fn split(provider: &'static str) {
    counter!(SPLITS, "provider" => provider).increment(1);
}

/// Counts a failed call to Redis.
pub fn redis_error(kind: &'static str) {
    counter!(REDIS_ERRORS, "kind" => kind).increment(1);
}

/// Shows a queue's state.
pub fn queue(queue: &'static str, status: &QueueStatus, now: Timestamp) {
    // A gauge is a float: exact to 2^53, far beyond what Redis could hold.
    #[expect(clippy::cast_precision_loss)]
    let float = |value: u64| value as f64;
    let Volume { messages, bytes } = status.backlog();
    gauge!(BACKLOG_MESSAGES, "queue" => queue).set(float(messages));
    gauge!(BACKLOG_BYTES, "queue" => queue).set(float(bytes));
    gauge!(LEASED_MESSAGES, "queue" => queue).set(float(status.leased().messages));
    counter!(ACCEPTED_BYTES, "queue" => queue).absolute(status.accepted.bytes);
    for (state, oldest) in [("waiting", status.oldest_waiting), ("leased", status.oldest_leased)] {
        let age = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
        gauge!(OLDEST_AGE, "queue" => queue, "state" => state).set(age);
    }
    gauge!(BALANCED, "queue" => queue).set(u8::from(status.balances()));
}

//! What the metrics of queues and Redis are called, and how they are shown.

use fleet_queue::{QueueStatus, RedisMemory, Volume};
use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const BACKLOG_MESSAGES: &str = "fleet_queue_backlog_messages";
const BACKLOG_BYTES: &str = "fleet_queue_backlog_bytes";
const LEASED_MESSAGES: &str = "fleet_queue_leased_messages";
const LEASED_BATCHES: &str = "fleet_queue_leases";
const PARKED_BATCHES: &str = "fleet_queue_parked_batches";
const UNACCOUNTED: &str = "fleet_queue_unaccounted_messages";
const ACCEPTED_MESSAGES: &str = "fleet_queue_accepted_messages_total";
const ACCEPTED_BYTES: &str = "fleet_queue_accepted_bytes_total";
const SETTLED_MESSAGES: &str = "fleet_queue_settled_messages_total";
const SETTLED_BYTES: &str = "fleet_queue_settled_bytes_total";
const OLDEST_AGE: &str = "fleet_queue_oldest_age_seconds";
const BALANCED: &str = "fleet_queue_ledger_balanced";
const READ_AT: &str = "fleet_queue_read_timestamp_seconds";
const REDIS_USED: &str = "fleet_queue_redis_memory_used_bytes";
const REDIS_MAX: &str = "fleet_queue_redis_memory_max_bytes";
const REDIS_WEAKNESSES: &str = "fleet_consumer_redis_durability_weaknesses";

/// Says what each of them means.
pub(super) fn describe() {
    describe_gauge!(BACKLOG_MESSAGES, "Messages accepted but not settled, waiting and leased");
    describe_gauge!(BACKLOG_BYTES, Unit::Bytes, "Bytes accepted but not settled, waiting and leased");
    describe_gauge!(LEASED_MESSAGES, "Messages claimed but not settled");
    describe_gauge!(LEASED_BATCHES, "Batches that consumers work on, or that wait for a takeover");
    describe_gauge!(
        PARKED_BATCHES,
        "Batches that one database has and that are set aside until the other one takes its part"
    );
    describe_gauge!(
        UNACCOUNTED,
        "Most webhooks that Redis has forgotten although they were answered 200 and not settled when a consumer last looked; \
         fleet-consumer accept-loss sets it to 0"
    );
    describe_gauge!(
        REDIS_WEAKNESSES,
        "What makes Redis weaker than an accepted message deserves, as far as the consumer may see it; 0 is good"
    );
    describe_counter!(ACCEPTED_MESSAGES, "Messages ever accepted, by the ledger in Redis");
    describe_counter!(ACCEPTED_BYTES, Unit::Bytes, "Bytes ever accepted, by the ledger in Redis");
    describe_counter!(SETTLED_MESSAGES, "Messages ever settled, by the ledger in Redis");
    describe_counter!(SETTLED_BYTES, Unit::Bytes, "Bytes ever settled, by the ledger in Redis");
    describe_gauge!(
        OLDEST_AGE,
        Unit::Seconds,
        "Age of the oldest message, since its receipt; 0 if there is none"
    );
    describe_gauge!(BALANCED, "1 if the queue holds what its ledger says");
    describe_gauge!(
        READ_AT,
        Unit::Seconds,
        "When this consumer last read the queue's state, seconds since the epoch"
    );
    describe_gauge!(REDIS_USED, Unit::Bytes, "Memory that Redis uses");
    describe_gauge!(REDIS_MAX, Unit::Bytes, "Redis' maxmemory; 0 is no limit");
}

/// Shows a queue's state. Its series begin with what was read first: a zero before it would look like a jump to
/// whoever scales on the rate.
pub fn queue(queue: &'static str, status: &QueueStatus, now: Timestamp) {
    let Volume { messages, bytes } = status.backlog();
    gauge!(BACKLOG_MESSAGES, "queue" => queue).set(float(messages));
    gauge!(LEASED_BATCHES, "queue" => queue).set(float(status.leases));
    // What only a ledger knows stays as it was while there is none: a figure that cannot be would scale the consumers.
    if status.has_ledger() {
        gauge!(BACKLOG_BYTES, "queue" => queue).set(float(bytes));
        gauge!(LEASED_MESSAGES, "queue" => queue).set(float(status.leased().messages));
        counter!(ACCEPTED_MESSAGES, "queue" => queue).absolute(status.accepted.messages);
        counter!(ACCEPTED_BYTES, "queue" => queue).absolute(status.accepted.bytes);
        counter!(SETTLED_MESSAGES, "queue" => queue).absolute(status.settled.messages);
        counter!(SETTLED_BYTES, "queue" => queue).absolute(status.settled.bytes);
    }
    gauge!(PARKED_BATCHES, "queue" => queue).set(float(status.parked));
    let oldest = [
        ("waiting", status.oldest_waiting),
        ("leased", status.oldest_leased),
        ("parked", status.oldest_parked),
    ];
    for (state, oldest) in oldest {
        let age = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
        gauge!(OLDEST_AGE, "queue" => queue, "state" => state).set(age);
    }
    gauge!(BALANCED, "queue" => queue).set(u8::from(status.balances()));
    gauge!(READ_AT, "queue" => queue).set(now.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
}

/// Shows how many webhooks are unaccounted for.
pub(crate) fn unaccounted(queue: &'static str, messages: u64) {
    gauge!(UNACCOUNTED, "queue" => queue).set(float(messages));
}

/// Shows how much of Redis is weaker than it should be.
pub(crate) fn redis_weaknesses(count: usize) {
    gauge!(REDIS_WEAKNESSES).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Shows how full Redis is.
pub fn redis_memory(memory: RedisMemory) {
    gauge!(REDIS_USED).set(float(memory.used_bytes));
    gauge!(REDIS_MAX).set(float(memory.max_bytes));
}

/// A gauge is a float: exact to 2^53, far beyond what Redis could hold.
#[expect(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

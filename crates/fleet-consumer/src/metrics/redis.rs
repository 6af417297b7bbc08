//! Redis itself: its memory, its settings, and failed calls.

use fleet_queue::{Queue, QueueError, RedisMemory, Replication};
use metrics::{counter, gauge};

use crate::metrics::declare::declare;
use crate::metrics::queues::label;

declare! {
    counter REDIS_ERRORS = "fleet_consumer_redis_errors_total", "Failed calls to Redis, by kind";
    gauge REDIS_USED = "fleet_queue_redis_memory_used_bytes", Bytes, "Memory that the Redis of this queue uses";
    gauge REDIS_MAX = "fleet_queue_redis_memory_max_bytes", Bytes,
        "The maxmemory of this queue's Redis; 0 is no limit";
    gauge REDIS_REPLICAS = "fleet_queue_redis_replicas",
        "Replicas that are connected to the primary of this queue's Redis and synchronized with it";
    gauge REDIS_REPLICA_LAG = "fleet_queue_redis_replica_lag_bytes", Bytes,
        "Bytes of the replication stream that the slowest connected replica of this queue's Redis has not confirmed";
    gauge REDIS_WEAKNESSES = "fleet_consumer_redis_durability_weaknesses",
        "Settings of Redis that endanger accepted messages, as far as the consumer may see them; 0 is good";
}

/// Exports every series with its first zero.
pub(super) fn start_at_zero() {
    for &kind in QueueError::KINDS {
        counter!(REDIS_ERRORS, "kind" => kind).increment(0);
    }
}

/// Counts a failed call to Redis.
pub(crate) fn redis_error(kind: &'static str) {
    counter!(REDIS_ERRORS, "kind" => kind).increment(1);
}

/// Shows how many settings of Redis endanger accepted messages.
pub(crate) fn redis_weaknesses(count: usize) {
    gauge!(REDIS_WEAKNESSES).set(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Shows how full the Redis of a queue is. Queues may be on different servers.
pub(crate) fn redis_memory(queue: Queue, memory: RedisMemory) {
    gauge!(REDIS_USED, "queue" => label(queue)).set(float(memory.used_bytes));
    gauge!(REDIS_MAX, "queue" => label(queue)).set(float(memory.max_bytes));
}

/// Shows which replicas the Redis of a queue has.
pub(crate) fn replication(queue: Queue, replication: &Replication) {
    let replicas = u32::try_from(replication.replicas.len()).unwrap_or(u32::MAX);
    gauge!(REDIS_REPLICAS, "queue" => label(queue)).set(replicas);
    gauge!(REDIS_REPLICA_LAG, "queue" => label(queue)).set(float(replication.lag_bytes()));
}

/// Redis has far less memory than the 2^53 bytes that a float counts exactly.
#[expect(clippy::cast_precision_loss)]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

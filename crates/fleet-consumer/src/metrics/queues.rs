//! The state of the queues.

use fleet_providers::PROVIDERS;
use fleet_queue::{Queue, QueueStatus, Volume};
use fleet_runtime::settings::Settings;
use jiff::Timestamp;
use metrics::{SharedString, counter, gauge};

use crate::metrics::declare::declare;

declare! {
    gauge BACKLOG_MESSAGES = "fleet_queue_backlog_messages",
        "Messages accepted but not settled, waiting and leased";
    gauge BACKLOG_BYTES = "fleet_queue_backlog_bytes", Bytes,
        "Bytes accepted but not settled, waiting and leased";
    gauge LEASED_MESSAGES = "fleet_queue_leased_messages", "Messages claimed but not settled";
    gauge LEASED_BATCHES = "fleet_queue_leases",
        "Batches that consumers work on, or that wait for a takeover";
    gauge PARKED_BATCHES = "fleet_queue_parked_batches",
        "Batches that one database has, parked until the other one recovers";
    gauge UNACCOUNTED = "fleet_queue_unaccounted_messages",
        "Most webhooks that Redis lost: they were answered 200 and not settled when a consumer last looked. \
         fleet-consumer accept-loss sets it to 0";
    counter ACCEPTED_MESSAGES = "fleet_queue_accepted_messages_total",
        "Messages ever accepted, by the ledger in Redis";
    counter ACCEPTED_BYTES = "fleet_queue_accepted_bytes_total", Bytes,
        "Bytes ever accepted, by the ledger in Redis";
    counter SETTLED_MESSAGES = "fleet_queue_settled_messages_total",
        "Messages ever settled, by the ledger in Redis";
    counter SETTLED_BYTES = "fleet_queue_settled_bytes_total", Bytes,
        "Bytes ever settled, by the ledger in Redis";
    gauge OLDEST_AGE = "fleet_queue_oldest_age_seconds", Seconds,
        "Age of the oldest message, since its receipt; 0 if there is none";
    gauge CONFIGURED = "fleet_queue_configured",
        "1 if the settings name the queue, 0 if this consumer has found it";
    gauge SHARDS = "fleet_consumer_shards", "Queues of the provider, as the settings say";
    gauge BALANCED = "fleet_queue_ledger_balanced", "1 if the queue holds what its ledger says";
    gauge READ_AT = "fleet_queue_read_timestamp_seconds", Seconds,
        "When this consumer last read the queue's state, seconds since the epoch";
}

/// Shows a queue's state. Its series do not start at zero: an autoscaler that watches their rate would see a jump.
pub(crate) fn queue(queue: Queue, status: &QueueStatus, now: Timestamp) {
    let queue = label(queue);
    let Volume { messages, bytes } = status.backlog();
    gauge!(BACKLOG_MESSAGES, "queue" => queue.clone()).set(float(messages));
    gauge!(LEASED_BATCHES, "queue" => queue.clone()).set(float(status.leases));
    // While the ledger is missing, keep the last values: a wrong one would scale the consumers.
    if status.has_ledger() {
        gauge!(BACKLOG_BYTES, "queue" => queue.clone()).set(float(bytes));
        gauge!(LEASED_MESSAGES, "queue" => queue.clone()).set(float(status.leased().messages));
        counter!(ACCEPTED_MESSAGES, "queue" => queue.clone()).absolute(status.accepted.messages);
        counter!(ACCEPTED_BYTES, "queue" => queue.clone()).absolute(status.accepted.bytes);
        counter!(SETTLED_MESSAGES, "queue" => queue.clone()).absolute(status.settled.messages);
        counter!(SETTLED_BYTES, "queue" => queue.clone()).absolute(status.settled.bytes);
    }
    gauge!(PARKED_BATCHES, "queue" => queue.clone()).set(float(status.parked));
    let oldest = [
        ("waiting", status.oldest_waiting),
        ("leased", status.oldest_leased),
        ("parked", status.oldest_parked),
    ];
    for (state, oldest) in oldest {
        let age = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
        gauge!(OLDEST_AGE, "queue" => queue.clone(), "state" => state).set(age);
    }
    gauge!(BALANCED, "queue" => queue.clone()).set(u8::from(status.balances()));
    gauge!(READ_AT, "queue" => queue.clone()).set(now.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
}

/// Shows whether the settings name a queue.
pub(crate) fn configured(queue: Queue, is_configured: bool) {
    gauge!(CONFIGURED, "queue" => label(queue)).set(u8::from(is_configured));
}

/// Shows how many shards each provider has.
pub(crate) fn shards(settings: &Settings) {
    for provider in PROVIDERS {
        gauge!(SHARDS, "provider" => provider.slug).set(settings.shards(provider.slug));
    }
}

/// Shows how many webhooks are unaccounted for.
pub(crate) fn unaccounted(queue: Queue, messages: u64) {
    gauge!(UNACCOUNTED, "queue" => label(queue)).set(float(messages));
}

/// The value of the label `queue`.
pub(super) fn label(queue: Queue) -> SharedString {
    SharedString::from(queue.to_string())
}

/// A gauge is a float: exact to 2^53, far beyond what Redis could hold.
#[expect(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

//! Every metric of the bridge. docs/observability.md says what each is for; a test compares the two.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_queue::{Queue, QueueError};
use fleet_runtime::metrics::Buckets;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use strum::VariantArray;

use crate::fault::{Fault, Reason};

const RECEIVED: &str = "fleet_bridge_received_messages_total";
const REDELIVERED: &str = "fleet_bridge_redelivered_messages_total";
const OVERSIZE: &str = "fleet_bridge_oversize_messages_total";
const PUSHED: &str = "fleet_bridge_pushed_messages_total";
const ACKED: &str = "fleet_bridge_acked_messages_total";
const UNACKED: &str = "fleet_bridge_unacked_messages";
const PREFETCH: &str = "fleet_bridge_prefetch_messages";
const WAITING: &str = "fleet_bridge_waiting_messages";
const LAST_MESSAGE: &str = "fleet_bridge_last_message_timestamp_seconds";
const CONSUMING: &str = "fleet_bridge_consuming";
const STREAMS_ENDED: &str = "fleet_bridge_streams_ended_total";
const ABORT_PAUSE: &str = "fleet_bridge_abort_pause_seconds";
const CONNECTED: &str = "fleet_bridge_connected";
const BLOCKED: &str = "fleet_bridge_blocked";
const CONNECTIONS_FAILED: &str = "fleet_bridge_connections_failed_total";
const PUSH_SIZE: &str = "fleet_bridge_push_messages";
const PUSH_DURATION: &str = "fleet_bridge_push_duration_seconds";
const SHEDDING: &str = "fleet_bridge_shedding";
const UNCONFIRMED: &str = "fleet_bridge_unconfirmed_pushes_total";
const UNACCOUNTED: &str = "fleet_bridge_unaccounted_messages_total";
const REDIS_ERRORS: &str = "fleet_bridge_redis_errors_total";
const REPLICAS_MISSING: &str = "fleet_bridge_redis_replicas_missing";
const REDIS_WEAKNESSES: &str = "fleet_bridge_redis_durability_weaknesses";

const LATENCY_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const SIZE_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 2] = [(PUSH_SIZE, &SIZE_BUCKETS), (PUSH_DURATION, &LATENCY_BUCKETS)];

/// Describes each metric, and creates those that belong to no queue.
pub(crate) fn describe() {
    describe_messages();
    describe_streams();
    describe_redis();
    connected(false);
    blocked(false);
    for reason in Reason::VARIANTS {
        let _shown = failed_connections(*reason);
    }
    for &kind in QueueError::KINDS {
        counter!(REDIS_ERRORS, "kind" => kind).increment(0);
    }
}

fn describe_messages() {
    describe_counter!(RECEIVED, "Messages that the broker has delivered, repeated deliveries included");
    describe_counter!(REDELIVERED, "Messages that the broker had delivered before");
    describe_counter!(OVERSIZE, "Messages above the size limit, of which only the beginning was pushed");
    describe_counter!(PUSHED, "Messages that Redis has stored");
    describe_counter!(ACKED, "Messages that were acknowledged to the broker");
    describe_gauge!(
        UNACKED,
        "Messages delivered and not acknowledged: the part of the prefetch that is in use"
    );
    describe_gauge!(PREFETCH, "Most unacknowledged messages of a queue, as the settings say");
    describe_gauge!(
        WAITING,
        "Messages at the broker that no consumer has, as of the last check of a silent queue; 0 while messages arrive"
    );
    describe_gauge!(
        LAST_MESSAGE,
        Unit::Seconds,
        "When the last message arrived, as Unix time; 0 if none has since the start"
    );
}

fn describe_streams() {
    describe_gauge!(CONSUMING, "1 while the bridge consumes the queue");
    describe_counter!(STREAMS_ENDED, "Consumers that ended or could not be started, by reason");
    describe_gauge!(
        ABORT_PAUSE,
        Unit::Seconds,
        "Length of the current pause after several consumers that acknowledged little or nothing; 0 otherwise"
    );
    describe_gauge!(CONNECTED, "1 while the connection to the broker is open");
    describe_gauge!(BLOCKED, "1 while the broker blocks the connection");
    describe_counter!(
        CONNECTIONS_FAILED,
        "Connections to the broker that ended or could not be opened, by reason"
    );
}

fn describe_redis() {
    describe_histogram!(PUSH_SIZE, "Messages in one push to Redis");
    describe_histogram!(
        PUSH_DURATION,
        Unit::Seconds,
        "Duration of one push to Redis, including failed ones and the wait for replicas"
    );
    describe_gauge!(SHEDDING, "1 while nothing is pushed to the queue because its backlog is above its cap");
    describe_counter!(UNCONFIRMED, "Pushes that too few replicas had confirmed when Redis replied");
    describe_counter!(
        UNACCOUNTED,
        "Upper bound of the acknowledged messages that Redis lost before they were settled, as this process noticed"
    );
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis, by kind");
    describe_gauge!(
        REPLICAS_MISSING,
        "Replicas that must confirm a queue's pushes and confirm no writes; 0 is good"
    );
    describe_gauge!(
        REDIS_WEAKNESSES,
        "Redis settings that are too weak to keep accepted messages safe; 0 is good"
    );
}

/// Shows whether there is a connection to the broker.
pub(crate) fn connected(connected: bool) {
    gauge!(CONNECTED).set(u8::from(connected));
}

/// Shows whether the broker blocks the connection.
pub(crate) fn blocked(blocked: bool) {
    gauge!(BLOCKED).set(u8::from(blocked));
}

/// Counts a connection that ended or could not be opened.
pub(crate) fn connection_failed(fault: &Fault) {
    failed_connections(fault.reason()).increment(1);
}

fn failed_connections(reason: Reason) -> Counter {
    counter!(CONNECTIONS_FAILED, "reason" => <&str>::from(reason))
}

/// Counts a failed call to Redis.
pub(crate) fn redis_error(kind: &'static str) {
    counter!(REDIS_ERRORS, "kind" => kind).increment(1);
}

/// Sets how many of Redis' settings are too weak.
pub(crate) fn redis_weaknesses(count: u32) {
    gauge!(REDIS_WEAKNESSES).set(count);
}

/// Sets how many of the replicas that must confirm a queue's pushes are missing.
pub(crate) fn redis_replicas_missing(queue: Queue, count: u32) {
    gauge!(REPLICAS_MISSING, "queue" => queue.to_string()).set(count);
}

/// Handles for one of the broker's queues.
#[derive(Clone, Debug)]
pub(crate) struct LaneMetrics {
    received: Counter,
    redelivered: Counter,
    oversize: Counter,
    pushed: Counter,
    acked: Counter,
    unacked: Gauge,
    waiting: Gauge,
    last_message: Gauge,
    consuming: Gauge,
    abort_pause: Gauge,
    /// By [`Reason`], in the order of its variants.
    ended: Box<[Counter]>,
}

impl LaneMetrics {
    /// The handles of the queue with this name.
    pub(crate) fn new(name: &str, prefetch: u16) -> Self {
        let name = name.to_owned();
        gauge!(PREFETCH, "amqp_queue" => name.clone()).set(prefetch);
        let ended = |reason: &Reason| counter!(STREAMS_ENDED, "amqp_queue" => name.clone(), "reason" => <&str>::from(*reason));
        Self {
            received: counter!(RECEIVED, "amqp_queue" => name.clone()),
            redelivered: counter!(REDELIVERED, "amqp_queue" => name.clone()),
            oversize: counter!(OVERSIZE, "amqp_queue" => name.clone()),
            pushed: counter!(PUSHED, "amqp_queue" => name.clone()),
            acked: counter!(ACKED, "amqp_queue" => name.clone()),
            unacked: gauge!(UNACKED, "amqp_queue" => name.clone()),
            waiting: gauge!(WAITING, "amqp_queue" => name.clone()),
            last_message: gauge!(LAST_MESSAGE, "amqp_queue" => name.clone()),
            consuming: gauge!(CONSUMING, "amqp_queue" => name.clone()),
            abort_pause: gauge!(ABORT_PAUSE, "amqp_queue" => name.clone()),
            ended: Reason::VARIANTS.iter().map(ended).collect(),
        }
    }

    pub(crate) fn received(&self, redelivered: bool, oversize: bool) {
        self.received.increment(1);
        self.redelivered.increment(u64::from(redelivered));
        self.oversize.increment(u64::from(oversize));
        self.waiting.set(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_message.set(now);
    }

    pub(crate) fn pushed(&self, messages: usize) {
        self.pushed.increment(wide(messages));
    }

    pub(crate) fn acked(&self, messages: usize) {
        self.acked.increment(wide(messages));
    }

    pub(crate) fn unacked(&self, messages: usize) {
        self.unacked.set(u32::try_from(messages).unwrap_or(u32::MAX));
    }

    pub(crate) fn waiting(&self, messages: u32) {
        self.waiting.set(messages);
    }

    pub(crate) fn consuming(&self, consuming: bool) {
        self.consuming.set(u8::from(consuming));
    }

    /// Sets the length of a pause after aborts; zero if there is none.
    pub(crate) fn abort_pause(&self, pause: Duration) {
        self.abort_pause.set(pause);
    }

    pub(crate) fn stream_ended(&self, reason: Reason) {
        if let Some(counter) = self.ended.get(reason as usize) {
            counter.increment(1);
        }
    }
}

/// Handles for the pushes to one queue in Redis.
#[derive(Clone, Debug)]
pub(crate) struct PushMetrics {
    pub(crate) queue: Queue,
    size: Histogram,
    duration: Histogram,
    shedding: Gauge,
    unconfirmed: Counter,
    unaccounted: Counter,
}

impl PushMetrics {
    /// The handles of `queue`.
    pub(crate) fn new(queue: Queue) -> Self {
        let (provider, name) = (queue.provider(), queue.to_string());
        Self {
            queue,
            size: histogram!(PUSH_SIZE, "provider" => provider),
            duration: histogram!(PUSH_DURATION, "provider" => provider),
            shedding: gauge!(SHEDDING, "provider" => provider, "queue" => name.clone()),
            unconfirmed: counter!(UNCONFIRMED, "provider" => provider, "queue" => name.clone()),
            unaccounted: counter!(UNACCOUNTED, "provider" => provider, "queue" => name.clone()),
        }
    }

    pub(crate) fn pushed(&self, messages: usize, duration: Duration) {
        self.size.record(u32::try_from(messages).unwrap_or(u32::MAX));
        self.duration.record(duration);
    }

    pub(crate) fn unconfirmed(&self) {
        self.unconfirmed.increment(1);
    }

    pub(crate) fn unaccounted(&self, messages: u64) {
        self.unaccounted.increment(messages);
    }

    pub(crate) fn shedding(&self, shedding: bool) {
        self.shedding.set(u8::from(shedding));
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! Every metric of the API. docs/observability.md says what each is for; a test compares the two.

use std::time::Duration;

use fleet_queue::{Queue, QueueError};
use fleet_runtime::metrics::Buckets;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use strum::{IntoStaticStr, VariantArray};

use crate::outcome::Outcome;

const WEBHOOKS: &str = "fleet_api_webhooks_total";
const WEBHOOK_DURATION: &str = "fleet_api_webhook_duration_seconds";
const SHED: &str = "fleet_api_shed_total";
const COMMIT_SIZE: &str = "fleet_api_commit_messages";
const COMMIT_DURATION: &str = "fleet_api_commit_duration_seconds";
const REDIS_ERRORS: &str = "fleet_api_redis_errors_total";
const SHEDDING: &str = "fleet_api_shedding";
const UNACCOUNTED: &str = "fleet_api_unaccounted_messages_total";
const UNCONFIRMED: &str = "fleet_api_unconfirmed_pushes_total";
const AWAITING_REPLICAS: &str = "fleet_api_awaiting_replicas";
const AWAITING_REPLICAS_SECONDS: &str = "fleet_api_awaiting_replicas_seconds";
const REPLICAS_MISSING: &str = "fleet_api_redis_replicas_missing";
const REDIS_WEAKNESSES: &str = "fleet_api_redis_durability_weaknesses";
const SHARDS: &str = "fleet_api_shards";

/// Fine between 1 and 50 ms, where most responses should be.
const LATENCY_BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const SIZE_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 3] =
    [(WEBHOOK_DURATION, &LATENCY_BUCKETS), (COMMIT_SIZE, &SIZE_BUCKETS), (COMMIT_DURATION, &LATENCY_BUCKETS)];

/// Describes each metric, and creates those that belong to no provider.
pub(crate) fn describe() {
    describe_counter!(WEBHOOKS, "Webhooks answered, by outcome");
    describe_histogram!(WEBHOOK_DURATION, Unit::Seconds, "Time from a webhook's headers to its response");
    describe_counter!(SHED, "Webhooks answered 503, by reason");
    describe_histogram!(COMMIT_SIZE, "Messages in one push to Redis");
    describe_histogram!(
        COMMIT_DURATION,
        Unit::Seconds,
        "Duration of one push to Redis, including failed ones and the first wait for replicas"
    );
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis, by kind");
    describe_gauge!(
        SHEDDING,
        "1 while the queue's backlog is above its part of the provider's cap. If all queues of a provider are, its webhooks \
         are answered 503"
    );
    describe_counter!(
        UNACCOUNTED,
        "Upper bound of the webhooks answered 200 that Redis lost before they were settled, as this process noticed"
    );
    describe_counter!(UNCONFIRMED, "Pushes that too few replicas had confirmed when Redis replied");
    describe_gauge!(
        AWAITING_REPLICAS,
        "1 while nothing is pushed because replicas have not confirmed the last push, or confirm no writes"
    );
    describe_gauge!(
        AWAITING_REPLICAS_SECONDS,
        Unit::Seconds,
        "How long nothing has been pushed because of missing confirmations; 0 if pushes go on"
    );
    describe_gauge!(
        REPLICAS_MISSING,
        "Replicas that must confirm a queue's pushes and confirm no writes; 0 is good"
    );
    describe_gauge!(
        REDIS_WEAKNESSES,
        "Redis settings that are too weak to keep accepted messages safe; 0 is good"
    );
    describe_gauge!(SHARDS, "Queues that the provider's webhooks are spread over, as the settings say");
    for &kind in QueueError::KINDS {
        counter!(REDIS_ERRORS, "kind" => kind).increment(0);
    }
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

/// Shows over how many queues a provider's webhooks are spread.
pub(crate) fn shards(provider: &'static str, shards: usize) {
    gauge!(SHARDS, "provider" => provider).set(u32::try_from(shards).unwrap_or(u32::MAX));
}

/// Handles for one provider's requests, looked up once.
#[derive(Clone, Debug)]
pub(crate) struct WebhookMetrics {
    /// By [`Outcome`], in the order of its variants; `None` for those that cannot happen.
    outcomes: Box<[Option<(Counter, Histogram)>]>,
}

impl WebhookMetrics {
    /// The handles of a served provider.
    pub(crate) fn new(provider: &'static str) -> Self {
        Self::of(provider, |outcome| outcome != Outcome::UnknownProvider)
    }

    /// The handles of requests that name no served provider, with what to write instead of its name.
    pub(crate) fn unknown(provider: &'static str) -> Self {
        Self::of(provider, |outcome| outcome == Outcome::UnknownProvider)
    }

    fn of(provider: &'static str, is_possible: impl Fn(Outcome) -> bool) -> Self {
        let handles = |outcome: Outcome| {
            let name = outcome.name();
            is_possible(outcome).then(|| {
                let count = counter!(WEBHOOKS, "provider" => provider, "outcome" => name);
                (count, histogram!(WEBHOOK_DURATION, "provider" => provider, "outcome" => name))
            })
        };
        Self { outcomes: Outcome::VARIANTS.iter().copied().map(handles).collect() }
    }

    /// Counts one response.
    pub(crate) fn responded(&self, outcome: Outcome, duration: Duration) {
        if let Some(Some((count, durations))) = self.outcomes.get(outcome as usize) {
            count.increment(1);
            durations.record(duration);
        }
    }
}

/// Why a webhook is answered 503: a closed list.
#[derive(Clone, Copy, Debug, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Shed {
    /// The provider's backlog is above its cap.
    BacklogFull,
    /// Too many of the provider's requests are in flight.
    RequestsInFlight,
    /// Too many bytes of the provider's bodies are in memory.
    BodyBytesInFlight,
    /// Too many requests of the provider wait for a push.
    CommitQueueFull,
    /// The push to Redis failed.
    RedisUnavailable,
    /// Too few replicas have confirmed the push, or confirm pushes at all.
    Unconfirmed,
}

/// Handles for one provider's 503s.
#[derive(Clone, Debug)]
pub(crate) struct ShedMetrics(Box<[Counter]>);

impl ShedMetrics {
    /// The handles of `provider`.
    pub(crate) fn new(provider: &'static str) -> Self {
        let handle = |reason: &Shed| counter!(SHED, "provider" => provider, "reason" => <&str>::from(reason));
        Self(Shed::VARIANTS.iter().map(handle).collect())
    }

    pub(crate) fn count(&self, reason: Shed) {
        self.count_all(reason, 1);
    }

    pub(crate) fn count_all(&self, reason: Shed, webhooks: usize) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.increment(u64::try_from(webhooks).unwrap_or(u64::MAX));
        }
    }
}

/// Handles for the pushes to one queue.
#[derive(Clone, Debug)]
pub(crate) struct CommitMetrics {
    pub(crate) provider: &'static str,
    pub(crate) queue: Queue,
    pub(crate) shed: ShedMetrics,
    size: Histogram,
    duration: Histogram,
    shedding: Gauge,
    unaccounted: Counter,
    unconfirmed: Counter,
    awaiting_replicas: Gauge,
    awaiting_replicas_seconds: Gauge,
}

impl CommitMetrics {
    /// The handles of `queue`.
    pub(crate) fn new(queue: Queue) -> Self {
        let (provider, name) = (queue.provider(), queue.to_string());
        Self {
            provider,
            queue,
            shed: ShedMetrics::new(provider),
            size: histogram!(COMMIT_SIZE, "provider" => provider),
            duration: histogram!(COMMIT_DURATION, "provider" => provider),
            shedding: gauge!(SHEDDING, "provider" => provider, "queue" => name.clone()),
            unaccounted: counter!(UNACCOUNTED, "provider" => provider, "queue" => name.clone()),
            unconfirmed: counter!(UNCONFIRMED, "provider" => provider, "queue" => name.clone()),
            awaiting_replicas: gauge!(AWAITING_REPLICAS, "provider" => provider, "queue" => name.clone()),
            awaiting_replicas_seconds: gauge!(AWAITING_REPLICAS_SECONDS, "provider" => provider, "queue" => name.clone()),
        }
    }

    pub(crate) fn pushed(&self, messages: usize, duration: Duration) {
        self.size.record(u32::try_from(messages).unwrap_or(u32::MAX));
        self.duration.record(duration);
    }

    pub(crate) fn unaccounted(&self, messages: u64) {
        self.unaccounted.increment(messages);
    }

    /// Counts a push that too few replicas had confirmed.
    pub(crate) fn unconfirmed(&self) {
        self.unconfirmed.increment(1);
    }

    /// Sets since when nothing is pushed because of missing confirmations; `None` if pushes go on.
    pub(crate) fn awaiting_replicas(&self, since: Option<Duration>) {
        self.awaiting_replicas.set(u8::from(since.is_some()));
        self.awaiting_replicas_seconds.set(since.unwrap_or_default());
    }

    pub(crate) fn shedding(&self, shedding: bool) {
        self.shedding.set(u8::from(shedding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards and alerts know these names.
    #[test]
    fn reasons_to_shed() {
        let names: Vec<_> = Shed::VARIANTS.iter().map(<&str>::from).collect();
        let expected = [
            "backlog_full",
            "requests_in_flight",
            "body_bytes_in_flight",
            "commit_queue_full",
            "redis_unavailable",
            "unconfirmed",
        ];
        assert_eq!(names, expected);
    }
}

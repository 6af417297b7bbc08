//! Every metric of the API. docs/observability.md says what each is for; a test compares the two.

use std::time::Duration;

use fleet_queue::QueueError;
use fleet_runtime::metrics::Buckets;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::response::Outcome;

const WEBHOOKS: &str = "fleet_api_webhooks_total";
const WEBHOOK_DURATION: &str = "fleet_api_webhook_duration_seconds";
const SHED: &str = "fleet_api_shed_total";
const COMMIT_SIZE: &str = "fleet_api_commit_messages";
const COMMIT_DURATION: &str = "fleet_api_commit_duration_seconds";
const REDIS_ERRORS: &str = "fleet_api_redis_errors_total";
const SHEDDING: &str = "fleet_api_shedding";
const UNACCOUNTED: &str = "fleet_api_unaccounted_messages_total";
const REDIS_WEAKNESSES: &str = "fleet_api_redis_durability_weaknesses";

/// Fine between 1 and 50 ms, where an answer should be.
const LATENCY_BUCKETS: [f64; 16] =
    [0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const SIZE_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 3] =
    [(WEBHOOK_DURATION, &LATENCY_BUCKETS), (COMMIT_SIZE, &SIZE_BUCKETS), (COMMIT_DURATION, &LATENCY_BUCKETS)];

/// Says what each metric means, and shows those that belong to no provider.
pub fn describe() {
    describe_counter!(WEBHOOKS, "Webhooks answered, by what became of them");
    describe_histogram!(WEBHOOK_DURATION, Unit::Seconds, "From a webhook's head to its answer");
    describe_counter!(SHED, "Webhooks answered 503, by why");
    describe_histogram!(COMMIT_SIZE, "Messages in one push to Redis");
    describe_histogram!(COMMIT_DURATION, Unit::Seconds, "One push to Redis, failed ones included");
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis, by kind");
    describe_gauge!(
        SHEDDING,
        "1 while the provider's backlog is above its cap and its webhooks are answered 503"
    );
    describe_counter!(
        UNACCOUNTED,
        "Webhooks answered 200 that Redis has forgotten before they were settled, at most, as this process noticed"
    );
    describe_gauge!(
        REDIS_WEAKNESSES,
        "Redis settings that are weaker than an accepted message deserves; 0 is good"
    );
    for kind in QueueError::KINDS {
        counter!(REDIS_ERRORS, "kind" => kind).increment(0);
    }
}

/// Counts a failed call to Redis.
pub fn redis_error(kind: &'static str) {
    counter!(REDIS_ERRORS, "kind" => kind).increment(1);
}

/// Notes how many of Redis' settings are too weak.
pub fn redis_weaknesses(count: u32) {
    gauge!(REDIS_WEAKNESSES).set(count);
}

/// Handles for one provider's requests, looked up once.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    /// In the order of [`Outcome::ALL`]; absent is what cannot happen.
    outcomes: [Option<(Counter, Histogram)>; Outcome::ALL.len()],
}

impl WebhookMetrics {
    /// The handles of a served provider.
    pub fn new(provider: &'static str) -> Self {
        Self::of(provider, |outcome| outcome != Outcome::UnknownProvider)
    }

    /// The handles of requests that name no served provider.
    pub fn unknown() -> Self {
        Self::of("unknown", |outcome| outcome == Outcome::UnknownProvider)
    }

    fn of(provider: &'static str, possible: impl Fn(Outcome) -> bool) -> Self {
        let handles = |outcome: Outcome| {
            let name = outcome.name();
            possible(outcome).then(|| {
                let count = counter!(WEBHOOKS, "provider" => provider, "outcome" => name);
                (count, histogram!(WEBHOOK_DURATION, "provider" => provider, "outcome" => name))
            })
        };
        Self { outcomes: Outcome::ALL.map(handles) }
    }

    /// Notes one answer.
    pub fn answered(&self, outcome: Outcome, duration: Duration) {
        if let Some(Some((count, durations))) = self.outcomes.get(outcome as usize) {
            count.increment(1);
            durations.record(duration);
        }
    }
}

/// Why a webhook is answered 503: a closed list.
#[derive(Clone, Copy, Debug)]
pub enum Shed {
    /// The provider's backlog is above its cap.
    BacklogFull,
    /// Too many of the provider's requests are at work.
    RequestsInFlight,
    /// Too many bytes of the provider's bodies are in memory.
    BodyBytesInFlight,
    /// Too many requests of the provider wait for a push.
    CommitQueueFull,
    /// Redis did not take the push.
    RedisUnavailable,
}

impl Shed {
    const ALL: [Self; 5] = [
        Self::BacklogFull,
        Self::RequestsInFlight,
        Self::BodyBytesInFlight,
        Self::CommitQueueFull,
        Self::RedisUnavailable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BacklogFull => "backlog_full",
            Self::RequestsInFlight => "requests_in_flight",
            Self::BodyBytesInFlight => "body_bytes_in_flight",
            Self::CommitQueueFull => "commit_queue_full",
            Self::RedisUnavailable => "redis_unavailable",
        }
    }
}

/// Handles for one provider's 503s.
#[derive(Clone, Debug)]
pub struct ShedMetrics([Counter; Shed::ALL.len()]);

impl ShedMetrics {
    /// The handles of `provider`.
    pub fn new(provider: &'static str) -> Self {
        Self(Shed::ALL.map(|shed| counter!(SHED, "provider" => provider, "reason" => shed.name())))
    }

    pub(crate) fn count(&self, shed: Shed) {
        self.count_all(shed, 1);
    }

    pub(crate) fn count_all(&self, shed: Shed, webhooks: usize) {
        if let Some(counter) = self.0.get(shed as usize) {
            counter.increment(u64::try_from(webhooks).unwrap_or(u64::MAX));
        }
    }
}

/// Handles for one provider's pushes.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    pub(crate) provider: &'static str,
    pub(crate) shed: ShedMetrics,
    size: Histogram,
    duration: Histogram,
    shedding: Gauge,
    unaccounted: Counter,
}

impl CommitMetrics {
    /// The handles of `provider`.
    pub fn new(provider: &'static str) -> Self {
        Self {
            provider,
            shed: ShedMetrics::new(provider),
            size: histogram!(COMMIT_SIZE, "provider" => provider),
            duration: histogram!(COMMIT_DURATION, "provider" => provider),
            shedding: gauge!(SHEDDING, "provider" => provider),
            unaccounted: counter!(UNACCOUNTED, "provider" => provider),
        }
    }

    pub(crate) fn pushed(&self, messages: usize, duration: Duration) {
        self.size.record(u32::try_from(messages).unwrap_or(u32::MAX));
        self.duration.record(duration);
    }

    pub(crate) fn unaccounted(&self, messages: u64) {
        self.unaccounted.increment(messages);
    }

    pub(crate) fn shedding(&self, shedding: bool) {
        self.shedding.set(u8::from(shedding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_are_in_the_order_of_their_discriminants() {
        for (index, shed) in Shed::ALL.into_iter().enumerate() {
            assert_eq!(shed as usize, index, "{}", shed.name());
        }
    }
}

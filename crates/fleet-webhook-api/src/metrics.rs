//! Every metric of the API.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::answer::Outcome;

const WEBHOOKS: &str = "fleet_api_webhooks_total";
const WEBHOOK_DURATION: &str = "fleet_api_webhook_duration_seconds";
const COMMIT_SIZE: &str = "fleet_api_commit_messages";
const COMMIT_DURATION: &str = "fleet_api_commit_duration_seconds";
const REDIS_ERRORS: &str = "fleet_api_redis_errors_total";
const SHEDDING: &str = "fleet_api_shedding";
const REDIS_WEAKNESSES: &str = "fleet_api_redis_durability_weaknesses";

/// Says what each metric means.
pub fn describe() {
    describe_counter!(WEBHOOKS, "Webhooks by provider and outcome");
    describe_histogram!(WEBHOOK_DURATION, Unit::Seconds, "From the request's head to the answer");
    describe_histogram!(COMMIT_SIZE, "Messages in one push to Redis");
    describe_histogram!(COMMIT_DURATION, Unit::Seconds, "One push to Redis");
    describe_counter!(REDIS_ERRORS, "Failed calls to Redis by kind");
    describe_gauge!(SHEDDING, "1 while the provider's backlog is above its cap");
    describe_gauge!(REDIS_WEAKNESSES, "Redis settings that are weaker than an accepted message deserves");
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
    /// In the order of [`Outcome::ALL`].
    outcomes: Vec<(Counter, Histogram)>,
}

impl WebhookMetrics {
    /// The handles of `provider`, a slug or `unknown`.
    pub fn new(provider: &'static str) -> Self {
        let handles = |outcome: Outcome| {
            let outcome = outcome.name();
            let count = counter!(WEBHOOKS, "provider" => provider, "outcome" => outcome);
            (count, histogram!(WEBHOOK_DURATION, "provider" => provider, "outcome" => outcome))
        };
        Self { outcomes: Outcome::ALL.map(handles).into() }
    }

    /// Notes one answer.
    pub fn answered(&self, outcome: Outcome, duration: Duration) {
        if let Some((count, durations)) = self.outcomes.get(outcome as usize) {
            count.increment(1);
            durations.record(duration);
        }
    }
}

/// Handles for one provider's pushes.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    pub(crate) provider: &'static str,
    size: Histogram,
    duration: Histogram,
    shedding: Gauge,
}

impl CommitMetrics {
    /// The handles of `provider`.
    pub fn new(provider: &'static str) -> Self {
        Self {
            provider,
            size: histogram!(COMMIT_SIZE, "provider" => provider),
            duration: histogram!(COMMIT_DURATION, "provider" => provider),
            shedding: gauge!(SHEDDING, "provider" => provider),
        }
    }

    pub(crate) fn pushed(&self, messages: usize, duration: Duration) {
        self.size.record(u32::try_from(messages).unwrap_or(u32::MAX));
        self.duration.record(duration);
    }

    pub(crate) fn shedding(&self, shedding: bool) {
        self.shedding.set(u8::from(shedding));
    }
}

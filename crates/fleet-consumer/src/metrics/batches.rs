//! Settled batches, their messages and events.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::metrics::declare::declare;

declare! {
    counter MESSAGES = "fleet_consumer_messages_total", "Messages settled, by what became of them";
    counter EVENTS = "fleet_consumer_events_total", "Events settled, by what became of them in telemetry";
    counter SKEWED_EVENTS = "fleet_consumer_clock_skewed_events_total",
        "Events with a time that cannot be true or cannot be read";
    histogram BATCH_SIZE = "fleet_consumer_batch_messages", "Messages in a batch";
    histogram BATCH_DURATION = "fleet_consumer_batch_duration_seconds", Seconds,
        "From parsing a batch to both commits";
    histogram FRESHNESS = "fleet_consumer_freshness_seconds", Seconds,
        "From receipt to both commits, of a batch's oldest message";
}

/// What became of the messages and events of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchCounts {
    /// Messages with at least one event that can be stored.
    pub(crate) applied: u64,
    /// Messages with events, none of which can be stored.
    pub(crate) dead: u64,
    /// Messages without any event.
    pub(crate) empty: u64,
    /// New rows of telemetry.
    pub(crate) inserted: u64,
    /// Events that telemetry had before.
    pub(crate) duplicate: u64,
    /// Events, and whole messages, that became dead letters.
    pub(crate) dead_lettered: u64,
    /// Events with a time that cannot be true.
    pub(crate) skewed: u64,
}

impl BatchCounts {
    /// Counts a message, which has an event that can be stored or not.
    pub(crate) fn add_message(&mut self, has_storable: bool) {
        let count = if has_storable { &mut self.applied } else { &mut self.dead };
        *count += 1;
    }

    /// Adds the counts of another slice of the same batch.
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

    fn publish(self, provider: &'static str) {
        for (outcome, count) in self.messages() {
            counter!(MESSAGES, "provider" => provider, "outcome" => outcome).increment(count);
        }
        for (outcome, count) in self.events() {
            counter!(EVENTS, "provider" => provider, "outcome" => outcome).increment(count);
        }
        counter!(SKEWED_EVENTS, "provider" => provider).increment(self.skewed);
    }
}

/// Exports every series of a provider with its first zero.
pub(super) fn start_at_zero(provider: &'static str) {
    BatchCounts::default().publish(provider);
    for name in [BATCH_SIZE, BATCH_DURATION, FRESHNESS] {
        let _exported = histogram!(name, "provider" => provider);
    }
}

/// Counts a batch that both databases have.
pub(crate) fn settled(
    provider: &'static str,
    counts: BatchCounts,
    messages: usize,
    duration: Duration,
    age: Duration,
) {
    counts.publish(provider);
    histogram!(BATCH_SIZE, "provider" => provider).record(u32::try_from(messages).unwrap_or(u32::MAX));
    histogram!(BATCH_DURATION, "provider" => provider).record(duration);
    histogram!(FRESHNESS, "provider" => provider).record(age);
}

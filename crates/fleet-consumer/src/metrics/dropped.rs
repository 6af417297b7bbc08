//! Values of events that are present and not used.

use fleet_providers::{Attribute, DropReason};
use metrics::counter;

use crate::metrics::declare::declare;

declare! {
    counter DROPPED_VALUES = "fleet_consumer_dropped_values_total",
        "Values of events that are present and not used, by attribute and reason";
}

/// Exports every series of a provider with its first zero.
pub(super) fn start_at_zero(provider: &'static str) {
    for attribute in Attribute::ALL {
        for reason in attribute.reasons() {
            publish(provider, attribute, *reason, 0);
        }
    }
}

/// How many values of a batch's events are not used: of most batches, none.
#[derive(Clone, Debug, Default)]
pub(crate) struct DroppedCounts(Vec<(Attribute, DropReason, u64)>);

impl DroppedCounts {
    /// Counts one value.
    pub(crate) fn add(&mut self, attribute: Attribute, reason: DropReason) {
        let found = self.0.iter_mut().find(|(found, why, _)| (*found, *why) == (attribute, reason));
        match found {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((attribute, reason, 1)),
        }
    }

    /// Adds them to the metrics.
    pub(crate) fn publish(&self, provider: &'static str) {
        for (attribute, reason, count) in &self.0 {
            publish(provider, *attribute, *reason, *count);
        }
    }
}

fn publish(provider: &'static str, attribute: Attribute, reason: DropReason, count: u64) {
    let (attribute, reason) = (attribute.name(), reason.name());
    counter!(DROPPED_VALUES, "provider" => provider, "attribute" => attribute, "reason" => reason)
        .increment(count);
}

//! Values that are there and are not used.

use fleet_providers::{Attribute, DropReason};
use metrics::{counter, describe_counter};

const DROPPED_VALUES: &str = "fleet_consumer_dropped_values_total";

pub(super) fn describe() {
    describe_counter!(
        DROPPED_VALUES,
        "Values that an event carries and that are not used, by what they are about and why"
    );
}

pub(super) fn show_provider(provider: &'static str) {
    for attribute in Attribute::ALL {
        for reason in attribute.reasons() {
            let (attribute, reason) = (attribute.name(), reason.name());
            counter!(DROPPED_VALUES, "provider" => provider, "attribute" => attribute, "reason" => reason)
                .increment(0);
        }
    }
}

/// What the events of a batch lose: mostly nothing.
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
            let (attribute, reason) = (attribute.name(), reason.name());
            counter!(DROPPED_VALUES, "provider" => provider, "attribute" => attribute, "reason" => reason)
                .increment(*count);
        }
    }
}

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

/// What the events of a batch lose.
#[derive(Clone, Debug, Default)]
pub(crate) struct DroppedCounts([[u64; DropReason::ALL.len()]; Attribute::ALL.len()]);

impl DroppedCounts {
    /// Counts one value.
    pub(crate) fn add(&mut self, attribute: Attribute, reason: DropReason) {
        let count = self.0.get_mut(attribute as usize).and_then(|counts| counts.get_mut(reason as usize));
        if let Some(count) = count {
            *count += 1;
        }
    }

    /// Adds them to the metrics.
    pub(crate) fn publish(&self, provider: &'static str) {
        for (attribute, counts) in Attribute::ALL.into_iter().zip(&self.0) {
            for (reason, count) in DropReason::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
                let (attribute, reason) = (attribute.name(), reason.name());
                counter!(DROPPED_VALUES, "provider" => provider, "attribute" => attribute, "reason" => reason)
                    .increment(*count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_the_order_of_their_discriminants() {
        for (index, attribute) in Attribute::ALL.into_iter().enumerate() {
            assert_eq!(attribute as usize, index, "{attribute:?}");
        }
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
    }
}

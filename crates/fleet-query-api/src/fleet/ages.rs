//! Vehicles in the order of the times from which their ages count, so that streams find those that have become too old.

use std::collections::BTreeSet;

use fleet_store::FoundVehicle;
use jiff::Timestamp;

use super::slots::Slot;

/// What has an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// The last webhook.
    Seen,
    /// The position.
    Position,
}

impl Age {
    /// The time from which the age counts, if the vehicle has one.
    pub(crate) fn since(self, found: &FoundVehicle) -> Option<Timestamp> {
        match self {
            Self::Seen => Some(found.vehicle.last_seen_at),
            Self::Position => found.vehicle.attributes.position.map(|position| position.at.into()),
        }
    }
}

/// All vehicles by their ages. Times are microseconds, as in the database.
#[derive(Debug, Default)]
pub(super) struct Ages {
    seen: BTreeSet<(i64, Slot)>,
    position: BTreeSet<(i64, Slot)>,
}

impl Ages {
    /// Adds a vehicle that is not known.
    pub(super) fn insert(&mut self, slot: Slot, found: &FoundVehicle) {
        for age in [Age::Seen, Age::Position] {
            if let Some(since) = age.since(found) {
                self.of_mut(age).insert((since.as_microsecond(), slot));
            }
        }
    }

    /// Removes a vehicle. It must be the one that was added.
    pub(super) fn remove(&mut self, slot: Slot, found: &FoundVehicle) {
        for age in [Age::Seen, Age::Position] {
            if let Some(since) = age.since(found) {
                self.of_mut(age).remove(&(since.as_microsecond(), slot));
            }
        }
    }

    /// The vehicles whose age counts from a time between `from` and before `to`.
    pub(super) fn between(&self, age: Age, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Slot> {
        let all = match age {
            Age::Seen => &self.seen,
            Age::Position => &self.position,
        };
        let (from, to) = (from.as_microsecond(), to.as_microsecond().max(from.as_microsecond()));
        all.range((from, Slot::default())..(to, Slot::default())).map(|(_since, slot)| *slot)
    }

    fn of_mut(&mut self, age: Age) -> &mut BTreeSet<(i64, Slot)> {
        match age {
            Age::Seen => &mut self.seen,
            Age::Position => &mut self.position,
        }
    }
}

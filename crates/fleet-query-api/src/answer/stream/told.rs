//! The vehicles that a stream has told of, and which of them leave by mere age.

use jiff::Timestamp;
use uuid::Uuid;

use crate::ask::filter::Filter;
use crate::fleet::Fleet;
use crate::fleet::slots::{Slot, SlotSet};

/// The vehicles that a stream has told of, if its conditions include an age.
#[derive(Debug)]
pub(super) struct Told {
    slots: SlotSet,
    /// Vehicles that had become too old before this time have left.
    until: Timestamp,
}

impl Told {
    /// Nothing has been told.
    pub(super) fn nothing() -> Self {
        Self { slots: SlotSet::default(), until: Timestamp::MAX }
    }

    /// Notes that a vehicle has been told of, because it meets the conditions at `now`.
    pub(super) fn put(&mut self, slot: Slot, now: Timestamp) {
        self.slots.insert(slot);
        // The clock may have been set back.
        self.until = self.until.min(now);
    }

    /// Forgets a vehicle. Says whether it had been told of.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        self.slots.remove(slot)
    }

    /// Takes the vehicles that have become too old before `now`. The stream must have told of every change of the fleet, because the
    /// slots are those of the fleet as it is.
    pub(super) fn take_aged(&mut self, fleet: &Fleet, filter: &Filter, now: Timestamp) -> Vec<Uuid> {
        let mut gone = Vec::new();
        for (age, within) in filter.ages() {
            let before = |at: Timestamp| at.checked_sub(within).unwrap_or(Timestamp::MIN);
            for (slot, found) in fleet.aged(age, before(self.until), before(now)) {
                if !filter.matches(found, now) && self.slots.remove(slot) {
                    gone.push(found.vehicle.vehicle_id);
                }
            }
        }
        self.until = now;
        gone
    }
}

#[cfg(test)]
mod tests {
    use fleet_providers::Attributes;
    use fleet_store::{FoundVehicle, StoredVehicle};

    use super::*;
    use crate::ask::filter::FILTERS;
    use crate::ask::parameters::Parameters;

    fn seconds(since: i64) -> Timestamp {
        Timestamp::from_second(since).unwrap()
    }

    fn seen_at(name: u128, at: Timestamp) -> FoundVehicle {
        let vehicle = StoredVehicle {
            vehicle_id: Uuid::from_u128(name),
            provider_vehicle_id: name.to_string(),
            attributes: Attributes::default(),
            first_seen_at: at,
            last_seen_at: at,
            clock_skewed_at: None,
        };
        FoundVehicle { provider: "niu".to_owned(), vehicle }
    }

    #[test]
    fn vehicles_leave_once_when_they_are_too_old() {
        let filter = Filter::parse(&Parameters::parse(Some("seen_within=10s"), &FILTERS).unwrap()).unwrap();
        let (mut fleet, mut told) = (Fleet::default(), Told::nothing());
        let tell = |told: &mut Told, fleet: &mut Fleet, name: u128, at: i64, now: i64| {
            let change = fleet.put(seen_at(name, seconds(at))).unwrap();
            told.put(change.slot, seconds(now));
        };
        tell(&mut told, &mut fleet, 1, 100, 105);
        tell(&mut told, &mut fleet, 2, 103, 105);
        fleet.put(seen_at(3, seconds(101))).unwrap();
        let take = |told: &mut Told, fleet: &Fleet, now: i64| {
            let gone = told.take_aged(fleet, &filter, seconds(now));
            gone.into_iter().map(|id| id.as_u128()).collect::<Vec<_>>()
        };
        assert!(take(&mut told, &fleet, 110).is_empty(), "exactly 10 s is young enough");
        assert_eq!(take(&mut told, &fleet, 112), [1], "3 has not been told of");
        tell(&mut told, &mut fleet, 2, 111, 112);
        assert!(take(&mut told, &fleet, 120).is_empty(), "2 was seen again");
        // The clock is set back, and a vehicle is told that would have left by the clock before.
        tell(&mut told, &mut fleet, 4, 100, 106);
        assert_eq!(take(&mut told, &fleet, 115), [4]);
        assert_eq!(take(&mut told, &fleet, 122), [2]);
        assert!(take(&mut told, &fleet, 1000).is_empty());
    }

    /// Another vehicle may get the slot of one that was deleted.
    #[test]
    fn a_slot_is_used_again() {
        let mut fleet = Fleet::default();
        let first = fleet.put(seen_at(1, seconds(100))).unwrap();
        fleet.put(seen_at(2, seconds(100))).unwrap();
        let gone = fleet.keep_only(&[Uuid::from_u128(2)].into_iter().collect());
        assert_eq!((gone.len(), gone[0].slot), (1, first.slot));
        let third = fleet.put(seen_at(3, seconds(100))).unwrap();
        assert_eq!((third.slot, fleet.len(), fleet.all().count()), (first.slot, 2, 2));
        assert!(fleet.get(Uuid::from_u128(1)).is_none());
    }
}

//! The whole fleet in memory.

pub(crate) mod ages;
pub(crate) mod entry;
pub(crate) mod geometry;
pub(crate) mod grid;
pub(crate) mod slots;

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use fleet_store::FoundVehicle;
use jiff::Timestamp;
use uuid::Uuid;

use self::ages::{Age, Ages};
use self::entry::Entry;
use self::geometry::Extent;
use self::grid::Grid;
use self::slots::Slot;

/// Every vehicle, by id, by position and by age.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    by_id: BTreeMap<Uuid, Slot>,
    vehicles: Vec<Option<Arc<Entry>>>,
    /// Slots without a vehicle.
    free: Vec<Slot>,
    grid: Grid,
    ages: Ages,
}

/// What has happened to a vehicle: it is new without `before`, and deleted without `after`.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) vehicle_id: Uuid,
    pub(crate) slot: Slot,
    pub(crate) before: Option<Arc<Entry>>,
    pub(crate) after: Option<Arc<Entry>>,
}

impl Fleet {
    /// How many vehicles there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// One vehicle.
    pub(crate) fn get(&self, vehicle_id: Uuid) -> Option<(Slot, &Arc<Entry>)> {
        let slot = *self.by_id.get(&vehicle_id)?;
        Some((slot, self.at(slot)?))
    }

    /// The vehicle in a slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<&Arc<Entry>> {
        self.vehicles.get(slot.index())?.as_ref()
    }

    /// Every vehicle, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Slot, &Arc<Entry>)> {
        let slots = self.vehicles.iter().enumerate();
        slots.filter_map(|(index, found)| Some((Slot::new(index), found.as_ref()?)))
    }

    /// The vehicles after this one, by id.
    pub(crate) fn after(&self, vehicle_id: Option<Uuid>) -> impl Iterator<Item = &Arc<Entry>> {
        let start = vehicle_id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((start, Bound::Unbounded)).filter_map(|(_id, slot)| self.at(*slot))
    }

    /// Visits the vehicles in the extent, each once. A few may be just outside of it.
    pub(crate) fn visit(&self, extent: &Extent, mut visit: impl FnMut(Slot, &Arc<Entry>)) {
        self.grid.visit(extent, |slot| {
            if let Some(found) = self.at(slot) {
                visit(slot, found);
            }
        });
    }

    /// How many vehicles are in the cells that the extent touches.
    pub(crate) fn count(&self, extent: &Extent) -> usize {
        self.grid.count(extent)
    }

    /// The vehicles whose `age` counts from a time between `from` and before `to`.
    pub(crate) fn aged(
        &self,
        age: Age,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = (Slot, &Arc<Entry>)> {
        self.ages.between(age, from, to).filter_map(|slot| Some((slot, self.at(slot)?)))
    }

    /// Takes over the state of a vehicle. Says what has changed, if anything has: a row may be read twice.
    pub(crate) fn put(&mut self, found: FoundVehicle) -> Option<Change> {
        let vehicle_id = found.vehicle.vehicle_id;
        let known = self.by_id.get(&vehicle_id).copied();
        let before = known.and_then(|slot| self.at(slot)).cloned();
        if before.as_ref().is_some_and(|known| ***known == found) {
            return None;
        }
        let after = Arc::new(Entry::new(found));
        let slot = known.unwrap_or_else(|| self.new_slot(vehicle_id));
        self.grid.put(slot, before.as_deref().map(|before| &**before), &after);
        if let Some(before) = &before {
            self.ages.remove(slot, before);
            before.forget_json();
        }
        self.ages.insert(slot, &after);
        if let Some(place) = self.vehicles.get_mut(slot.index()) {
            *place = Some(Arc::clone(&after));
        }
        Some(Change { vehicle_id, slot, before, after: Some(after) })
    }

    /// Removes the vehicles that are not among `kept`.
    pub(crate) fn keep_only(&mut self, kept: &HashSet<Uuid>) -> Vec<Change> {
        let gone: Vec<_> = self.by_id.keys().copied().filter(|id| !kept.contains(id)).collect();
        let removed = gone.into_iter().filter_map(|vehicle_id| {
            let slot = self.by_id.remove(&vehicle_id)?;
            let before = self.vehicles.get_mut(slot.index())?.take()?;
            self.grid.remove(slot, &before);
            self.ages.remove(slot, &before);
            before.forget_json();
            self.free.push(slot);
            Some(Change { vehicle_id, slot, before: Some(before), after: None })
        });
        removed.collect()
    }

    fn new_slot(&mut self, vehicle_id: Uuid) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.vehicles.push(None);
            Slot::new(self.vehicles.len() - 1)
        });
        self.by_id.insert(vehicle_id, slot);
        slot
    }
}

//! The whole fleet in memory.

pub(crate) mod entry;
pub(crate) mod geometry;
pub(crate) mod grid;

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use fleet_store::FoundVehicle;
use uuid::Uuid;

use self::entry::Entry;
use self::geometry::Extent;
use self::grid::Grid;

/// Every vehicle, by id and by position.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    by_id: BTreeMap<Uuid, Arc<Entry>>,
    grid: Grid,
}

/// What has happened to a vehicle: it is new without `before`, and deleted without `after`.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) vehicle_id: Uuid,
    pub(crate) before: Option<Arc<Entry>>,
    pub(crate) after: Option<Arc<Entry>>,
}

impl Fleet {
    /// How many vehicles there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// One vehicle.
    pub(crate) fn get(&self, vehicle_id: Uuid) -> Option<&Arc<Entry>> {
        self.by_id.get(&vehicle_id)
    }

    /// The vehicles after this one, by id.
    pub(crate) fn after(&self, vehicle_id: Option<Uuid>) -> impl Iterator<Item = &Arc<Entry>> {
        let start = vehicle_id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((start, Bound::Unbounded)).map(|(_id, vehicle)| vehicle)
    }

    /// Visits the vehicles in the extent, each once, and some outside of it.
    pub(crate) fn visit(&self, extent: &Extent, visit: impl FnMut(&Arc<Entry>)) {
        self.grid.visit(extent, visit);
    }

    /// Takes over the state of a vehicle. Says what has changed, if anything has: a row may be read twice.
    pub(crate) fn put(&mut self, found: FoundVehicle) -> Option<Change> {
        let vehicle_id = found.vehicle.vehicle_id;
        if self.by_id.get(&vehicle_id).is_some_and(|known| ***known == found) {
            return None;
        }
        let after = Arc::new(Entry::new(found));
        let before = self.by_id.insert(vehicle_id, Arc::clone(&after));
        self.grid.put(before.as_deref(), &after);
        if let Some(before) = &before {
            before.forget_json();
        }
        Some(Change { vehicle_id, before, after: Some(after) })
    }

    /// Removes the vehicles that are not among `kept`.
    pub(crate) fn keep_only(&mut self, kept: &HashSet<Uuid>) -> Vec<Change> {
        let gone: Vec<_> = self.by_id.keys().copied().filter(|id| !kept.contains(id)).collect();
        let removed = gone.into_iter().filter_map(|vehicle_id| {
            let before = self.by_id.remove(&vehicle_id)?;
            self.grid.remove(&before);
            before.forget_json();
            Some(Change { vehicle_id, before: Some(before), after: None })
        });
        removed.collect()
    }
}

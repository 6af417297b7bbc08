//! When vehicles leave a stream by mere age.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

/// The vehicles that a stream has told of, if its conditions include an age.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    by_time: BTreeSet<(Timestamp, Uuid)>,
    by_id: HashMap<Uuid, Timestamp>,
}

impl Expiry {
    /// Notes that a vehicle has been told of. It leaves after `at`.
    pub(super) fn put(&mut self, vehicle_id: Uuid, at: Timestamp) {
        self.remove(vehicle_id);
        self.by_time.insert((at, vehicle_id));
        self.by_id.insert(vehicle_id, at);
    }

    /// Forgets a vehicle. Says whether it had been told of.
    pub(super) fn remove(&mut self, vehicle_id: Uuid) -> bool {
        let Some(at) = self.by_id.remove(&vehicle_id) else { return false };
        self.by_time.remove(&(at, vehicle_id))
    }

    /// When the next vehicle leaves.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _vehicle_id)| *at)
    }

    /// Takes a vehicle that has left before `now`.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Uuid> {
        let (at, vehicle_id) = *self.by_time.first()?;
        (at < now && self.remove(vehicle_id)).then_some(vehicle_id)
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

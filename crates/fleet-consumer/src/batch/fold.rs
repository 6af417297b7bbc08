//! From events to one row a vehicle.
//!
//! Each attribute keeps its greatest (time, receipt, value): see [`fleet_providers::Attributes::merge`].

use fleet_failpoints::Failpoint;
use fleet_providers::VehicleEvent;
use fleet_store::VehicleState;
use uuid::Uuid;

/// Folds events to one state a vehicle, sorted by `vehicle_id`.
pub fn fold<'a>(events: impl Iterator<Item = &'a VehicleEvent<'a>>) -> Vec<VehicleState<'a>> {
    let mut events: Vec<_> = events.collect();
    events.sort_unstable_by_key(|event| event.vehicle_id);
    let by_vehicle = || events.chunk_by(|left, right| left.vehicle_id == right.vehicle_id);
    // A state has hundreds of bytes, so it is neither sorted nor moved by a vector that grows.
    let mut vehicles = Vec::with_capacity(by_vehicle().count());
    for events in by_vehicle() {
        let [first, others @ ..] = events else { continue };
        let mut vehicle = state(first);
        for event in others {
            merge(&mut vehicle, &state(event));
        }
        vehicles.push(vehicle);
    }
    if Failpoint::UnsortedUpsert.is_active() {
        // A different order each time.
        let order = Uuid::now_v7().as_u128();
        vehicles.sort_unstable_by_key(|vehicle| {
            (vehicle.vehicle_id.as_u128() ^ order).wrapping_mul(u128::MAX / 3)
        });
    }
    vehicles
}

fn state<'a>(event: &'a VehicleEvent<'a>) -> VehicleState<'a> {
    let received_at = event.received_at;
    VehicleState {
        vehicle_id: event.vehicle_id,
        provider_vehicle_id: &event.provider_vehicle_id,
        attributes: event.attributes,
        first_seen_at: received_at,
        last_seen_at: received_at,
        clock_skewed_at: event.clock_skewed.then_some(received_at),
    }
}

/// Merges two states of the same vehicle into the first one.
pub(crate) fn merge(into: &mut VehicleState<'_>, from: &VehicleState<'_>) {
    into.first_seen_at = into.first_seen_at.min(from.first_seen_at);
    into.last_seen_at = into.last_seen_at.max(from.last_seen_at);
    into.clock_skewed_at = into.clock_skewed_at.max(from.clock_skewed_at);
    into.attributes.merge(&from.attributes);
}

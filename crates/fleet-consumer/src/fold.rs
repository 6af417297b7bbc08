//! From events to one row a vehicle: pure.
//!
//! Every attribute is the greatest (time, receipt, value) of its events. A maximum is commutative, associative and idempotent, so
//! neither order nor repetition changes the result, here or in the database, which applies the same rule.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;

use fleet_failpoints::Failpoint;
use fleet_providers::{Attributes, Position, Timed, VehicleEvent};
use fleet_store::VehicleState;
use rustc_hash::FxHashMap;
use uuid::Uuid;

/// Folds events to one state a vehicle, sorted by `vehicle_id`.
pub fn fold<'a>(events: impl Iterator<Item = &'a VehicleEvent<'a>>) -> Vec<VehicleState<'a>> {
    let mut vehicles: FxHashMap<Uuid, VehicleState<'a>> = FxHashMap::default();
    for event in events {
        let state = state(event);
        match vehicles.entry(state.vehicle_id) {
            Entry::Vacant(entry) => {
                entry.insert(state);
            }
            Entry::Occupied(mut entry) => merge(entry.get_mut(), &state),
        }
    }
    let mut vehicles: Vec<_> = vehicles.into_values().collect();
    if Failpoint::UnsortedUpsert.is_active() {
        // In another order each time.
        let order = Uuid::now_v7().as_u128();
        vehicles.sort_unstable_by_key(|vehicle| {
            (vehicle.vehicle_id.as_u128() ^ order).wrapping_mul(u128::MAX / 3)
        });
    } else {
        vehicles.sort_unstable_by_key(|vehicle| vehicle.vehicle_id);
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

/// Raises `into` to what `from` says of the same vehicle.
pub(crate) fn merge(into: &mut VehicleState<'_>, from: &VehicleState<'_>) {
    into.first_seen_at = into.first_seen_at.min(from.first_seen_at);
    into.last_seen_at = into.last_seen_at.max(from.last_seen_at);
    into.clock_skewed_at = into.clock_skewed_at.max(from.clock_skewed_at);
    merge_attributes(&mut into.attributes, &from.attributes);
}

fn merge_attributes(into: &mut Attributes, from: &Attributes) {
    let Attributes {
        position,
        speed_kmh,
        battery_percent,
        range_m,
        odometer_m,
        powered_on,
        locked,
        charging,
        online,
    } = into;
    keep_greatest(position, from.position, compare_positions);
    keep_greatest(speed_kmh, from.speed_kmh, f64::total_cmp);
    keep_greatest(battery_percent, from.battery_percent, f64::total_cmp);
    keep_greatest(range_m, from.range_m, i32::cmp);
    keep_greatest(odometer_m, from.odometer_m, i32::cmp);
    keep_greatest(powered_on, from.powered_on, bool::cmp);
    keep_greatest(locked, from.locked, bool::cmp);
    keep_greatest(charging, from.charging, bool::cmp);
    keep_greatest(online, from.online, bool::cmp);
}

fn keep_greatest<T>(
    into: &mut Option<Timed<T>>,
    from: Option<Timed<T>>,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    let Some(candidate) = from else { return };
    let greater = into.as_ref().is_none_or(|current| {
        let order = (current.at, current.received_at).cmp(&(candidate.at, candidate.received_at));
        order.then_with(|| compare(&current.value, &candidate.value)).is_lt()
    });
    if greater {
        *into = Some(candidate);
    }
}

/// By lat, lon, altitude, heading, accuracy; an absent one is less than any.
fn compare_positions(left: &Position, right: &Position) -> Ordering {
    let key = |position: &Position| {
        let rest = [position.altitude_m, position.heading_deg, position.accuracy_m];
        let [altitude_m, heading_deg, accuracy_m] = rest.map(|value| value.unwrap_or(f64::NEG_INFINITY));
        [position.lat, position.lon, altitude_m, heading_deg, accuracy_m]
    };
    let pairs = key(left).into_iter().zip(key(right));
    pairs.fold(Ordering::Equal, |order, (left, right)| order.then_with(|| left.total_cmp(&right)))
}

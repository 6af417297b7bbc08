//! The rule "newest wins" in its simplest form, and events that are likely to reveal errors in an implementation.

use std::collections::BTreeMap;

use fleet_providers::{Attributes, Position, Timed, VehicleEvent, vehicle_id};
use fleet_store::VehicleState;
use proptest::option;
use proptest::prelude::*;

use super::{PROVIDER, at, event as event_of, received};

/// The expected vehicles after `events`, sorted by id.
pub(super) fn naive<'a>(events: &'a [VehicleEvent<'static>]) -> Vec<VehicleState<'a>> {
    let mut vehicles: BTreeMap<_, Vec<&VehicleEvent<'static>>> = BTreeMap::new();
    for event in events {
        vehicles.entry(event.vehicle_id).or_default().push(event);
    }
    vehicles.into_values().map(|events| vehicle(&events)).collect()
}

fn vehicle<'a>(events: &[&'a VehicleEvent<'static>]) -> VehicleState<'a> {
    let received = || events.iter().map(|event| event.received_at);
    let skewed = events.iter().filter(|event| event.clock_skewed);
    VehicleState {
        vehicle_id: events[0].vehicle_id,
        provider_vehicle_id: &events[0].provider_vehicle_id,
        attributes: attributes(events),
        first_seen_at: received().min().unwrap(),
        last_seen_at: received().max().unwrap(),
        clock_skewed_at: skewed.map(|event| event.received_at).max(),
    }
}

fn attributes(events: &[&VehicleEvent<'static>]) -> Attributes {
    let all: Vec<Attributes> = events.iter().map(|event| event.attributes).collect();
    // `None` is less than `Some`, in a tuple too.
    let place = |p: Position| (p.lat, p.lon, p.altitude_m, p.heading_deg, p.accuracy_m);
    Attributes {
        position: newest(&all, |event| event.position, place),
        speed_kmh: newest(&all, |event| event.speed_kmh, |value| value),
        battery_percent: newest(&all, |event| event.battery_percent, |value| value),
        range_m: newest(&all, |event| event.range_m, |value| value),
        odometer_m: newest(&all, |event| event.odometer_m, |value| value),
        powered_on: newest(&all, |event| event.powered_on, |value| value),
        locked: newest(&all, |event| event.locked, |value| value),
        charging: newest(&all, |event| event.charging, |value| value),
        online: newest(&all, |event| event.online, |value| value),
        driving_enabled: newest(&all, |event| event.driving_enabled, |value| value),
    }
}

/// The last value in the order of (time, receipt, value).
fn newest<T: Copy, K: PartialOrd>(
    events: &[Attributes],
    attribute: impl Fn(&Attributes) -> Option<Timed<T>>,
    key: impl Fn(T) -> K,
) -> Option<Timed<T>> {
    let mut values: Vec<Timed<T>> = events.iter().filter_map(attribute).collect();
    let key = |timed: &Timed<T>| (timed.at, timed.received_at, key(timed.value));
    values.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap());
    values.last().copied()
}

/// Events of three vehicles within four seconds, so that most times are equal.
pub(super) fn events() -> impl Strategy<Value = Vec<VehicleEvent<'static>>> {
    let event = (0..3_usize, 0..4_i64, any::<bool>(), attribute_values(), 0..4_i64);
    let event = event.prop_map(|(vehicle, observed, clock_skewed, attributes, received_at)| {
        let mut event = event_of(&format!("vehicle-{vehicle}"), at(observed), attributes);
        event.clock_skewed = clock_skewed;
        received(event, at(received_at))
    });
    prop::collection::vec(event, 1..25)
}

/// Each event at least once, some of them repeated, in any order.
pub(super) fn shuffled(
    events: Vec<VehicleEvent<'static>>,
) -> impl Strategy<Value = (Vec<VehicleEvent<'static>>, Vec<VehicleEvent<'static>>)> {
    let repeated = events.iter().chain(events.iter().step_by(2)).cloned().collect();
    (Just(events), Just::<Vec<_>>(repeated).prop_shuffle())
}

/// The same events for vehicles that are not in the database yet.
pub(super) fn renamed(events: &[VehicleEvent<'static>], suffix: &str) -> Vec<VehicleEvent<'static>> {
    let rename = |event: &VehicleEvent<'static>| {
        let name = format!("{}-{suffix}", event.provider_vehicle_id);
        VehicleEvent {
            vehicle_id: vehicle_id(PROVIDER, &name),
            provider_vehicle_id: name.into(),
            ..event.clone()
        }
    };
    events.iter().map(rename).collect()
}

fn timed<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Timed<T>>> {
    option::of((value, 0..4_i64).prop_map(|(value, seconds)| super::timed(value, at(seconds))))
}

fn few(values: &'static [f64]) -> impl Strategy<Value = f64> {
    prop::sample::select(values)
}

prop_compose! {
    fn position()(
        lat in few(&[-52.5, 0.0, 52.512615]),
        lon in few(&[-13.4, 13.419838333333333]),
        altitude_m in option::of(few(&[-430.5, 0.0, 34.0])),
        heading_deg in option::of(few(&[0.0, 359.9])),
        accuracy_m in option::of(few(&[0.5, 3.0])),
    ) -> Position {
        Position { lat, lon, altitude_m, heading_deg, accuracy_m }
    }
}

prop_compose! {
    fn attribute_values()(
        position in timed(position()),
        speed_kmh in timed(few(&[0.0, 0.1, 45.0])),
        battery_percent in timed(few(&[0.0, 66.66666666666667, 100.0])),
        range_m in timed(prop::sample::select(vec![0, 9, 10, i32::MAX])),
        odometer_m in timed(prop::sample::select(vec![0, 1_089_398, i32::MAX])),
        powered_on in timed(any::<bool>()),
        locked in timed(any::<bool>()),
        charging in timed(any::<bool>()),
        online in timed(any::<bool>()),
        driving_enabled in timed(any::<bool>()),
    ) -> Attributes {
        Attributes {
            position, speed_kmh, battery_percent, range_m, odometer_m, powered_on, locked, charging, online,
            driving_enabled,
        }
    }
}

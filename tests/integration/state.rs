//! The stores' rules: the newest value wins, in Rust and in SQL alike, and nothing is counted twice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod model;
mod new_vehicles;
mod newest_wins;
mod stores;
mod upserts;

use fleet_providers::{Attributes, Timed, VehicleEvent, vehicle_id};
use fleet_store::{Database, DatabaseOptions, Part};
use fleet_testbed::DatabaseLogin;
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::database_as;

const PROVIDER: &str = "niu";

/// A new pool.
fn pool(url: &str) -> Database {
    Database::open(&DatabaseOptions::new(&database_as(DatabaseLogin::Consumer, url))).unwrap()
}

/// A part that is a whole batch.
fn part(records: usize) -> Part<'static> {
    Part {
        lease_id: Uuid::now_v7(),
        provider: PROVIDER,
        first_record: 0,
        records: i32::try_from(records).unwrap(),
    }
}

/// `seconds` after a fixed time.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_718_000_000 + seconds).unwrap()
}

/// A value that was received at the time of its event.
fn timed<T>(value: T, observed_at: Timestamp) -> Timed<T> {
    Timed { value, at: observed_at.into(), received_at: at(1).into() }
}

/// The event with another time of receipt.
fn received(mut event: VehicleEvent<'static>, received_at: Timestamp) -> VehicleEvent<'static> {
    fn set<T>(timed: &mut Option<Timed<T>>, received_at: Timestamp) {
        if let Some(timed) = timed {
            timed.received_at = received_at.into();
        }
    }
    event.received_at = received_at;
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
        driving_enabled,
    } = &mut event.attributes;
    set(position, received_at);
    set(speed_kmh, received_at);
    set(battery_percent, received_at);
    set(range_m, received_at);
    set(odometer_m, received_at);
    for flag in [powered_on, locked, charging, online, driving_enabled] {
        set(flag, received_at);
    }
    event
}

/// An event that was received one second after the fixed time.
fn event(vehicle: &str, observed_at: Timestamp, attributes: Attributes) -> VehicleEvent<'static> {
    VehicleEvent {
        vehicle_id: vehicle_id(PROVIDER, vehicle),
        provider_vehicle_id: vehicle.to_owned().into(),
        event_id: Uuid::now_v7(),
        kind: "status".into(),
        provider_event_id: None,
        observed_at,
        received_at: at(1),
        clock_skewed: false,
        attributes,
        dropped: Vec::new(),
        raw: r#"{"sn":"1"}"#.into(),
    }
}

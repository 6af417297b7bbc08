//! `fold` and the upsert have the same results as the simple model.

use fleet_consumer::batch::fold::fold;
use fleet_providers::{Attributes, Position, Timed, VehicleEvent};
use fleet_store::{StateStore, VehicleState};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::model::{events, naive, renamed, shuffled};
use super::{at, event, part, pool, received};
use crate::support::TestDatabase;

fn folded<'a>(events: &'a [VehicleEvent<'static>]) -> Vec<VehicleState<'a>> {
    fold(events.iter())
}

/// Writes `events` to the database in batches of this size.
async fn deliver(store: &StateStore, events: &[VehicleEvent<'static>], batch: usize) {
    for events in events.chunks(batch) {
        store.write(&part(events.len()), &folded(events)).await.unwrap();
    }
}

/// Compares the rows of the `expected` vehicles with the expected state.
async fn assert_rows(client: &Client, expected: &[VehicleState<'_>]) {
    let ids: Vec<Uuid> = expected.iter().map(|vehicle| vehicle.vehicle_id).collect();
    let query = "SELECT * FROM vehicles WHERE vehicle_id = ANY($1) ORDER BY vehicle_id";
    let rows = client.query(query, &[&ids]).await.unwrap();
    let found: Vec<VehicleState<'_>> = rows.iter().map(vehicle).collect();
    assert_eq!(found, expected);
}

fn vehicle(row: &Row) -> VehicleState<'_> {
    VehicleState {
        vehicle_id: row.get("vehicle_id"),
        provider_vehicle_id: row.get("provider_vehicle_id"),
        attributes: Attributes {
            position: position(row),
            speed_kmh: timed(row, "speed_kmh", ["speed_at", "speed_received_at"]),
            battery_percent: timed(row, "battery_percent", ["battery_at", "battery_received_at"]),
            range_m: timed(row, "range_m", ["range_at", "range_received_at"]),
            odometer_m: timed(row, "odometer_m", ["odometer_at", "odometer_received_at"]),
            powered_on: timed(row, "powered_on", ["powered_on_at", "powered_on_received_at"]),
            locked: timed(row, "locked", ["locked_at", "locked_received_at"]),
            charging: timed(row, "charging", ["charging_at", "charging_received_at"]),
            online: timed(row, "online", ["online_at", "online_received_at"]),
            driving_enabled: timed(
                row,
                "driving_enabled",
                ["driving_enabled_at", "driving_enabled_received_at"],
            ),
        },
        first_seen_at: row.get("first_seen_at"),
        last_seen_at: row.get("last_seen_at"),
        clock_skewed_at: row.get("clock_skewed_at"),
    }
}

/// A column with its time and its time of receipt. Either all three are there or none.
fn timed<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    value: &str,
    [at, received_at]: [&str; 2],
) -> Option<Timed<T>> {
    match (row.get::<_, Option<T>>(value), row.get(at), row.get(received_at)) {
        (Some(value), Some(at), Some(received_at)) => {
            let (at, received_at): (Timestamp, Timestamp) = (at, received_at);
            Some(Timed { value, at: at.into(), received_at: received_at.into() })
        }
        (None, None, None) => None,
        _ => panic!("{value}, {at} and {received_at} do not belong together"),
    }
}

fn position(row: &Row) -> Option<Timed<Position>> {
    let lat = timed(row, "lat", ["position_at", "position_received_at"])?;
    let value = Position {
        lat: lat.value,
        lon: row.get("lon"),
        altitude_m: row.get("altitude_m"),
        heading_deg: row.get("heading_deg"),
        accuracy_m: row.get("accuracy_m"),
    };
    Some(Timed { value, at: lat.at, received_at: lat.received_at })
}

#[test]
fn sql_agrees_with_the_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(TestDatabase::migrated());
    let store = StateStore::new(pool(database.url()));
    let client = runtime.block_on(database.client());
    let deliveries = (events().prop_flat_map(shuffled), 1..8_usize);
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&deliveries, |((events, shuffled), batch)| {
        let run = Uuid::now_v7().to_string();
        let (events, shuffled) = (renamed(&events, &run), renamed(&shuffled, &run));
        runtime.block_on(async {
            deliver(&store, &shuffled, batch).await;
            assert_rows(&client, &naive(&events)).await;
        });
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_fold_agrees_with_the_model(events in events()) {
        prop_assert_eq!(folded(&events), naive(&events));
    }

    #[test]
    fn a_fold_does_not_depend_on_order_or_repetition((events, shuffled) in events().prop_flat_map(shuffled)) {
        prop_assert_eq!(folded(&shuffled), folded(&events));
    }
}

/// Pairs of positions with the same time and the same receipt, the greater one first.
fn tied_positions() -> Vec<[Position; 2]> {
    let least = Position { lat: 1.0, lon: 1.0, altitude_m: None, heading_deg: None, accuracy_m: None };
    vec![
        [Position { lat: 1.5, lon: -9.0, ..least }, Position { altitude_m: Some(9.0), ..least }],
        [Position { lon: 1.5, ..least }, Position { altitude_m: Some(9.0), ..least }],
        [Position { altitude_m: Some(-9.0), ..least }, Position { heading_deg: Some(9.0), ..least }],
        [Position { heading_deg: Some(0.0), ..least }, Position { accuracy_m: Some(9.0), ..least }],
        [Position { accuracy_m: Some(0.0), ..least }, least],
    ]
}

#[tokio::test]
async fn tied_positions_compare_field_by_field_and_stay_whole() {
    let database = TestDatabase::migrated().await;
    let (store, client) = (StateStore::new(pool(database.url())), database.client().await);
    for (index, [greater, less]) in tied_positions().into_iter().enumerate() {
        for (order, values) in [[greater, less], [less, greater]].into_iter().enumerate() {
            let name = format!("tie-{index}-{order}");
            let events = values.map(|value| {
                let position = Some(super::timed(value, at(0)));
                event(&name, at(0), Attributes { position, ..Attributes::default() })
            });
            deliver(&store, &events, 1).await;
            let winner = folded(&events);
            assert_eq!(winner[0].attributes.position.unwrap().value, greater, "{name}");
            assert_rows(&client, &winner).await;
        }
    }
}

#[tokio::test]
async fn an_older_or_silent_event_takes_nothing_back() {
    let database = TestDatabase::migrated().await;
    let (store, client) = (StateStore::new(pool(database.url())), database.client().await);
    let locked = |value, seconds| Attributes {
        locked: Some(super::timed(value, at(seconds))),
        ..Attributes::default()
    };
    let seen = |attributes, seconds| received(event("one", at(seconds), attributes), at(seconds));
    let newest = seen(locked(false, 5), 9);
    let events = [newest.clone(), seen(locked(true, 4), 10), seen(Attributes::default(), 8)];
    deliver(&store, &events, 1).await;
    let mut expected = folded(std::slice::from_ref(&newest));
    (expected[0].first_seen_at, expected[0].last_seen_at) = (at(8), at(10));
    assert_rows(&client, &expected).await;
}

#[tokio::test]
async fn of_two_values_of_one_time_the_later_receipt_wins() {
    let database = TestDatabase::migrated().await;
    let (store, client) = (StateStore::new(pool(database.url())), database.client().await);
    let place = |lat| Position { lat, lon: 1.0, altitude_m: None, heading_deg: None, accuracy_m: None };
    let report = |name: &str, locked, lat, receipt| {
        let attributes = Attributes {
            locked: Some(super::timed(locked, at(0))),
            position: Some(super::timed(place(lat), at(0))),
            ..Attributes::default()
        };
        received(event(name, at(0), attributes), at(receipt))
    };
    for (index, [first, second]) in [[true, false], [false, true]].into_iter().enumerate() {
        // Either value comes first, the batches come in any order, and all of them come twice.
        for order in [[0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0]] {
            let name = format!("tie-{index}-{order:?}");
            let north = |locked| if locked { 52.0 } else { 48.0 };
            let reports = [report(&name, first, north(first), 2), report(&name, second, north(second), 3)];
            deliver(&store, &order.map(|which| reports[which].clone()), 1).await;
            let expected = folded(&reports);
            let attributes = expected[0].attributes;
            assert_eq!(attributes.locked.map(|locked| locked.value), Some(second), "{name}");
            assert_eq!(attributes.position.map(|place| place.value.lat), Some(north(second)), "{name}");
            assert_rows(&client, &expected).await;
        }
    }
}

/// The previous release wrote no times of receipt. Its rows count as received before all others.
#[tokio::test]
async fn a_row_without_receipts_yields_to_any_of_the_same_time() {
    let database = TestDatabase::migrated().await;
    let (store, client) = (StateStore::new(pool(database.url())), database.client().await);
    let report = |locked| {
        let locked = Some(super::timed(locked, at(0)));
        event("old", at(0), Attributes { locked, ..Attributes::default() })
    };
    deliver(&store, &[report(true)], 1).await;
    client.batch_execute("UPDATE vehicles SET locked_received_at = NULL").await.unwrap();
    let later = [report(false)];
    deliver(&store, &later, 1).await;
    assert_rows(&client, &folded(&later)).await;
}

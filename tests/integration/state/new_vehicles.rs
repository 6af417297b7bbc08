//! The store counts the vehicles that it has inserted.

use fleet_consumer::batch::fold::fold;
use fleet_providers::VehicleEvent;
use fleet_store::StateStore;

use super::{at, event, part, pool};
use crate::support::TestDatabase;

fn reports(vehicles: std::ops::Range<usize>, seconds: i64) -> Vec<VehicleEvent<'static>> {
    let attributes = fleet_providers::Attributes {
        speed_kmh: Some(super::timed(20.0, at(seconds))),
        ..fleet_providers::Attributes::default()
    };
    vehicles.map(|vehicle| event(&format!("V{vehicle}"), at(seconds), attributes)).collect()
}

#[tokio::test]
async fn rows_that_were_inserted_are_counted_and_updates_are_not() {
    let database = TestDatabase::migrated().await;
    let store = StateStore::new(pool(database.url()));
    for (vehicles, seconds, new) in
        [(0..30, 0, 30), (20..45, 1, 15), (0..45, 2, 0), (0..45, 2, 0), (0..0, 3, 0)]
    {
        let events = reports(vehicles.clone(), seconds);
        let written = store.write(&part(events.len()), &fold(events.iter())).await.unwrap();
        assert_eq!(written, new, "{vehicles:?} at {seconds}");
    }
    // A batch that is delivered twice.
    let events = reports(45..50, 3);
    let part = part(5);
    for new in [5, 0] {
        assert_eq!(store.write(&part, &fold(events.iter())).await.unwrap(), new);
    }
}

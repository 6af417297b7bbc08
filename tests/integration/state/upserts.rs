//! Several writers at the same time, and the cost of an update.

use std::sync::Arc;

use fleet_consumer::batch::fold::fold;
use fleet_providers::{Attributes, VehicleEvent};
use fleet_store::{DatabaseOptions, Schema, StateStore, StoreError, migrate};
use fleet_testbed::{DatabaseLogin, Postgres};
use tokio::sync::Barrier;
use tokio_postgres::NoTls;

use super::{at, event, part, pool};
use crate::support::{TestDatabase, eventually};

fn speeds(vehicles: usize, round: usize, seconds: i64) -> Vec<VehicleEvent<'static>> {
    let speed_kmh = Some(super::timed(20.0, at(seconds)));
    let attributes = Attributes { speed_kmh, ..Attributes::default() };
    let name = |vehicle| format!("{round}-{vehicle}");
    (0..vehicles).map(|vehicle| event(&name(vehicle), at(seconds), attributes)).collect()
}

async fn write(store: &StateStore, events: &[VehicleEvent<'_>]) -> Result<u64, StoreError> {
    let vehicles = fold(events.iter());
    store.write(&part(events.len()), &vehicles).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_sights_of_the_same_vehicles_at_once_all_succeed() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 200;
    const VEHICLES: usize = 8;
    let database = TestDatabase::migrated().await;
    let store = StateStore::new(pool(database.url()));
    let barrier = Arc::new(Barrier::new(WRITERS));
    let writers = (0..WRITERS).map(|writer| {
        let (store, barrier) = (store.clone(), barrier.clone());
        tokio::spawn(async move {
            let mut failures = Vec::new();
            for round in 0..ROUNDS {
                let mut events = speeds(VEHICLES, round, i64::try_from(writer).unwrap());
                events.rotate_left(writer * VEHICLES / WRITERS);
                barrier.wait().await;
                // If one writer stopped here, the others would wait for ever.
                failures.extend(write(&store, &events).await.err());
            }
            failures
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        let failures = writer.await.unwrap();
        assert!(failures.is_empty(), "{}: {:?}", failures.len(), failures[0]);
    }
    let query =
        "SELECT count(*), count(*) FILTER (WHERE speed_at = $1 AND speed_received_at = $2) FROM vehicles";
    let row = database.client().await.query_one(query, &[&at(3), &at(1)]).await.unwrap();
    let all = i64::try_from(ROUNDS * VEHICLES).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (all, all));
}

/// As in production, a batch updates a few vehicles of every page. (A batch that updates all vehicles must put most new
/// versions on other pages, because the old ones stay until it commits.) The test has its own server, because another
/// test's long transaction would keep the dead versions.
#[tokio::test]
async fn updates_are_heap_only() {
    const VEHICLES: usize = 2000;
    const ROUNDS: usize = 80;
    const STRIDE: usize = 8;
    let server = tokio::task::spawn_blocking(|| Postgres::private(&[]).unwrap()).await.unwrap();
    migrate(&DatabaseOptions::new(&DatabaseLogin::Migrator.of(&server.url())), Schema::State).await.unwrap();
    let store = StateStore::new(pool(&server.url()));
    write(&store, &speeds(VEHICLES, 0, 0)).await.unwrap();
    for round in 1..=ROUNDS {
        let events = speeds(VEHICLES, 0, i64::try_from(round).unwrap());
        let some: Vec<_> = events.into_iter().skip(round % STRIDE).step_by(STRIDE).collect();
        write(&store, &some).await.unwrap();
    }
    // A session reports its last counts when it ends.
    drop(store);
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'vehicles'";
    let updates = i64::try_from(VEHICLES / STRIDE * ROUNDS).unwrap();
    let hot = eventually("the statistics", async || {
        let row = client.query_one(query, &[]).await.unwrap();
        (row.get::<_, i64>(0) == updates).then(|| row.get::<_, i64>(1))
    })
    .await;
    assert!(hot * 10 > updates * 9, "{hot} of {updates} updates were heap-only");
}

//! While a queue has many messages, its batches are large.

use tokio_postgres::Client;

use crate::process::program::{Program, Site};
use crate::support::{TestDatabase, eventually};

/// Of one batch.
const MESSAGES: usize = 1_000;
const BATCHES: usize = 3;
const VEHICLES: usize = 10;

/// Reports of so many vehicles in turn, each with a time of its own.
fn reports(count: usize, vehicles: usize) -> Vec<String> {
    let start = jiff::Timestamp::now().as_millisecond() - 1_000_000;
    let report = |index| {
        let (vehicle, time) = (index % vehicles, start + i64::try_from(index).unwrap());
        format!(r#"{{"sn":"V{vehicle}","infoTimestamp":{time},"nowSpeed":7}}"#)
    };
    (0..count).map(report).collect()
}

/// How many batches and transactions stored the reports, and how many rows of vehicles these wrote.
struct Stored {
    batches: i64,
    telemetry_parts: i64,
    state_parts: i64,
    state_rows: i64,
}

/// Lets a consumer with these settings store reports.
async fn stored(reports: &[String], settings: &[(&str, &str)]) -> Stored {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill_queue("niu", reports).await;
    let _consumer = Program::start(site.consumer(&[]).envs(settings.iter().copied()));
    eventually("the reports to be stored", async || {
        let status = site.queue_of("niu").await;
        assert!(status.balances(), "{status:?}");
        (status.backlog().messages == 0).then_some(())
    })
    .await;
    let client = database.client().await;
    assert_eq!(
        number(&client, "SELECT count(*) FROM telemetry").await,
        i64::try_from(reports.len()).unwrap()
    );
    Stored {
        batches: number(&client, "SELECT count(DISTINCT lease_id) FROM settled_batches").await,
        telemetry_parts: number(&client, "SELECT count(*) FROM settled_batches").await,
        state_parts: number(&client, "SELECT count(*) FROM settled_state_batches").await,
        state_rows: number(&client, "SELECT sum(vehicles) FROM settled_state_batches").await,
    }
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_long_queue_makes_large_batches_and_each_writes_a_vehicle_once() {
    let settings =
        [("FLEET_CONSUMER__CLAIM_MAX_MESSAGES", "100"), ("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "1000")];
    // The first claim does not know yet that the queue is long.
    let stored = stored(&reports(100 + BATCHES * MESSAGES, VEHICLES), &settings).await;
    assert_eq!(
        (stored.batches, stored.telemetry_parts, stored.state_parts, stored.state_rows),
        (4, 4, 4, 40)
    );
}

#[tokio::test]
async fn a_large_batch_keeps_its_limit_of_bytes() {
    let reports = reports(2 * MESSAGES, VEHICLES);
    let settings =
        [("FLEET_CONSUMER__CLAIM_MAX_MESSAGES", "100"), ("FLEET_CONSUMER__BATCH_MAX_BYTES", "65536")];
    let batches = stored(&reports, &settings).await.batches;
    // An envelope and its report have more than 100 bytes.
    assert!((4..20).contains(&batches), "{batches}");
}

#[tokio::test]
async fn the_state_is_split_by_vehicles_and_telemetry_by_events() {
    let settings =
        [("FLEET_CONSUMER__CLAIM_MAX_MESSAGES", "100"), ("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", "500")];
    for (vehicles, state_parts, state_rows) in [(VEHICLES, 2, 20), (MESSAGES, 3, 1_100)] {
        // A batch of 100, and a large one.
        let stored = stored(&reports(100 + MESSAGES, vehicles), &settings).await;
        assert_eq!((stored.batches, stored.telemetry_parts), (2, 3));
        assert_eq!((stored.state_parts, stored.state_rows), (state_parts, state_rows), "{vehicles} vehicles");
    }
}

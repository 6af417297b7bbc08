//! Compressed chunks, as far as the servers of these tests know them: Debian's edition of TimescaleDB cannot compress. A test
//! takes the lock that compression takes, and another one changes TimescaleDB's catalogue.

use std::time::{Duration, Instant};

use fleet_consumer::commands::audit::ledgers::Audit;
use fleet_store::{Database, DatabaseOptions, Schema, StoreError};
use fleet_testbed::DatabaseLogin;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Client;

use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

/// Longer than the consumer waits for a silent database.
const LOCKED_FOR: Duration = Duration::from_secs(8);

/// Late events, more than batches may be in flight.
const LATE: i64 = 4;

async fn post(fleet: &Fleet, vehicle: &str, observed_at: Timestamp) {
    let time = observed_at.as_millisecond();
    let body = format!(r#"{{"sn":"{vehicle}","infoTimestamp":{time},"nowSpeed":7}}"#);
    let post = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api));
    let response = post.header("token", TOKEN).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Waits until a statement that counts rows of this vehicle returns 1.
async fn stored(client: &Client, table: &str, vehicle: &str) {
    let count = match table {
        "vehicles" => "SELECT count(*) FROM vehicles WHERE provider_vehicle_id = $1",
        _telemetry => {
            "SELECT count(*) FROM telemetry WHERE raw->>'sn' = $1 AND observed_at > now() - interval '1 day'"
        }
    };
    eventually(&format!("{vehicle} in {table}"), async || {
        let rows: i64 = client.query_one(count, &[&vehicle]).await.unwrap().get(0);
        (rows == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn late_events_wait_for_their_chunk_and_live_ones_go_on() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let (client, locker) = (database.client().await, database.client().await);
    let last_week = Timestamp::now() - SignedDuration::from_hours(8 * 24);
    post(&fleet, "EARLY", last_week).await;
    fleet.settled().await;

    let chunk: String = client
        .query_one(
            "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
              WHERE hypertable_name = 'telemetry' ORDER BY range_start LIMIT 1",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    // As compress_chunk does.
    locker.batch_execute(&format!("BEGIN; LOCK TABLE {chunk} IN EXCLUSIVE MODE")).await.unwrap();
    let locked_at = Instant::now();
    let mut live = 0;
    let status = loop {
        if live < LATE {
            let late = format!("LATE{live}");
            post(&fleet, &late, last_week + SignedDuration::from_secs(live)).await;
            stored(&client, "vehicles", &late).await;
        }
        let vehicle = format!("LIVE{live}");
        post(&fleet, &vehicle, Timestamp::now()).await;
        stored(&client, "vehicles", &vehicle).await;
        stored(&client, "telemetry", &vehicle).await;
        live += 1;
        let status = fleet.queue("niu").await;
        if locked_at.elapsed() >= LOCKED_FOR && live >= LATE && status.parked > 0 {
            break status;
        }
    };
    assert!(status.balances() && i64::try_from(status.parked).unwrap() <= LATE, "{status:?}");
    locker.batch_execute("COMMIT").await.unwrap();

    fleet.settled().await;
    let rows: i64 = client.query_one("SELECT count(*) FROM telemetry", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1 + LATE + live);
    let audit = Audit::read(&fleet.settings).await.unwrap();
    assert!(audit.balances(), "{audit}");
    fleet.stop().await;
}

/// Without a licence, TimescaleDB can neither read nor write compressed chunks.
#[tokio::test]
async fn chunks_that_the_licence_does_not_cover_are_named_at_start() {
    let test = TestDatabase::migrated().await;
    let fleet = Fleet::start(&test).await;
    post(&fleet, "BEFORE", Timestamp::now()).await;
    fleet.settled().await;
    fleet.stop().await;
    let client = test.client().await;
    let compress = "UPDATE _timescaledb_catalog.chunk SET status = 1, compressed_chunk_id = id";
    client.batch_execute(compress).await.unwrap();
    let url = test.url_as(DatabaseLogin::Consumer);
    let database = Database::open(&DatabaseOptions::new(&url)).unwrap();
    let named = database.missing_migrations(Schema::Telemetry).await.unwrap_err();
    assert!(matches!(named, StoreError::Licence(1)), "{named}");

    let fleet = Fleet::start(&test).await;
    post(&fleet, "MEANWHILE", Timestamp::now()).await;
    stored(&client, "vehicles", "MEANWHILE").await;
    assert_eq!(fleet.queue("niu").await.backlog().messages, 1);
    let decompress = "UPDATE _timescaledb_catalog.chunk SET status = 0, compressed_chunk_id = NULL";
    client.batch_execute(decompress).await.unwrap();
    fleet.settled().await;
    stored(&client, "telemetry", "MEANWHILE").await;
    fleet.stop().await;
}

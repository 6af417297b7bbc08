//! Parts, duplicates, dead letters, the hypertable, and two databases instead of one.

use fleet_providers::{Attributes, VehicleEvent};
use fleet_store::{Appended, DeadLetter, Part, Schema, StateStore, TelemetryRow, TelemetryStore};
use jiff::Timestamp;
use uuid::Uuid;

use super::{PROVIDER, at, event, part, pool};
use crate::support::{Fleet, TOKEN, TestDatabase};

fn silent(vehicle: &str, seconds: i64) -> VehicleEvent<'static> {
    event(vehicle, at(seconds), Attributes::default())
}

fn row<'a>(event: &'a VehicleEvent<'a>) -> TelemetryRow<'a> {
    TelemetryRow { event, message_id: Uuid::now_v7(), topic: "" }
}

fn letter(message_id: Uuid, detail: &str) -> DeadLetter<'static> {
    DeadLetter {
        message_id,
        event_index: -1,
        reason: "parser_panic",
        detail: detail.to_owned(),
        received_at: Some(at(0)),
        envelope: b"1 \xff\0",
    }
}

async fn count(database: &TestDatabase, query: &str) -> i64 {
    database.client().await.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn stored_parts_are_remembered() {
    let database = TestDatabase::migrated().await;
    let (state, telemetry) =
        (StateStore::new(pool(database.url())), TelemetryStore::new(pool(database.url())));
    let events = [silent("one", 0), silent("one", 1)];
    let first = part(2);
    let second = Part { first_record: 2, records: 1, ..first };
    assert!(state.settled(first.lease_id).await.unwrap().is_empty());
    assert!(telemetry.settled(first.lease_id).await.unwrap().is_empty());
    let vehicles = fleet_consumer::batch::fold::fold(events.iter());
    state.write(&first, &vehicles).await.unwrap();
    assert_eq!(state.settled(first.lease_id).await.unwrap(), [(0, 2)].into());
    assert!(telemetry.settled(first.lease_id).await.unwrap().is_empty(), "each side records its own parts");
    telemetry.write(&first, &[row(&events[0]), row(&events[1])], &[]).await.unwrap();
    telemetry.write(&second, &[row(&silent("two", 0))], &[]).await.unwrap();
    assert_eq!(telemetry.settled(first.lease_id).await.unwrap(), [(0, 2), (2, 1)].into());
    assert!(telemetry.settled(Uuid::now_v7()).await.unwrap().is_empty(), "another lease");
}

#[tokio::test]
async fn a_part_written_twice_is_stored_and_counted_once() {
    let database = TestDatabase::migrated().await;
    let (state, telemetry) =
        (StateStore::new(pool(database.url())), TelemetryStore::new(pool(database.url())));
    let event = silent("one", 0);
    let vehicles = fleet_consumer::batch::fold::fold([&event].into_iter());
    let part = part(1);
    for inserted in [1, 0] {
        state.write(&part, &vehicles).await.unwrap();
        let appended = telemetry.write(&part, &[row(&event)], &[]).await.unwrap();
        assert_eq!(appended, Appended { inserted, duplicate: 1 - inserted });
    }
    for table in ["telemetry", "vehicles", "settled_batches", "settled_state_batches"] {
        assert_eq!(count(&database, &format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    assert_eq!(count(&database, "SELECT sum(inserted) FROM settled_batches").await, 1);
}

#[tokio::test]
async fn known_events_count_as_duplicates() {
    let database = TestDatabase::migrated().await;
    let telemetry = TelemetryStore::new(pool(database.url()));
    let (known, new) = ([silent("one", 0), silent("two", 0)], silent("one", 1));
    telemetry.write(&part(2), &[row(&known[0]), row(&known[1])], &[]).await.unwrap();
    let mixed = [row(&known[1]), row(&new), row(&known[0]), row(&new)];
    let dead = [letter(Uuid::now_v7(), "")];
    let appended = telemetry.write(&part(5), &mixed, &dead).await.unwrap();
    assert_eq!(appended, Appended { inserted: 1, duplicate: 3 });
    let query = "SELECT concat_ws(' ', sum(records), sum(inserted), sum(duplicate), sum(dead_lettered))
        FROM settled_batches WHERE provider = $1";
    let client = database.client().await;
    let sums: String = client.query_one(query, &[&PROVIDER]).await.unwrap().get(0);
    assert_eq!(sums, "7 3 3 1");
}

#[tokio::test]
async fn a_repeated_dead_letter_adds_to_its_attempts() {
    let database = TestDatabase::migrated().await;
    let telemetry = TelemetryStore::new(pool(database.url()));
    let id = Uuid::now_v7();
    telemetry.bury(PROVIDER, &[letter(id, "first")]).await.unwrap();
    let again = [letter(id, "again"), letter(Uuid::now_v7(), "another")];
    telemetry.write(&part(2), &[], &again).await.unwrap();
    let query = "SELECT attempts, detail, message.envelope, letter.last_dead_at > first_dead_at
                   FROM dead_letters AS letter JOIN dead_messages AS message USING (message_id)
                  WHERE message_id = $1 AND event_index = -1";
    let row = database.client().await.query_one(query, &[&id]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (2, "again"));
    assert_eq!((row.get::<_, &[u8]>(2), row.get(3)), (&b"1 \xff\0"[..], true));
    assert_eq!(count(&database, "SELECT count(*) FROM dead_letters").await, 2);
}

#[tokio::test]
async fn telemetry_is_a_hypertable_of_one_day_chunks() {
    let database = TestDatabase::migrated().await;
    let day = 24 * 3600;
    let events = [silent("one", 0), silent("one", 1), silent("one", day), silent("one", 3 * day)];
    let rows: Vec<_> = events.iter().map(row).collect();
    TelemetryStore::new(pool(database.url())).write(&part(4), &rows, &[]).await.unwrap();
    let chunks = "SELECT count(*) FROM timescaledb_information.chunks
        WHERE hypertable_name = 'telemetry' AND primary_dimension = 'observed_at'
          AND range_end - range_start = INTERVAL '1 day'";
    assert_eq!(count(&database, chunks).await, 3);
    let others = "SELECT count(*) FROM timescaledb_information.chunks";
    assert_eq!(count(&database, others).await, 3);
}

async fn post_status(fleet: &Fleet, vehicle: &str) {
    let now = Timestamp::now().as_millisecond();
    let body = serde_json::json!({
        "sn": vehicle, "type": "status", "time": now, "infoTimestamp": now, "gpsTimestamp": now,
        "postion": { "lat": 52.5, "lng": 13.4 },
    });
    let request = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api));
    let request = request.header("token", TOKEN).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_and_telemetry_may_be_two_databases() {
    let (state, telemetry) = (TestDatabase::empty().await, TestDatabase::empty().await);
    state.migrate(Schema::State).await;
    telemetry.migrate(Schema::Telemetry).await;
    let fleet = Fleet::start_with(&[
        ("FLEET_DATABASE_URL", state.url()),
        ("FLEET_TELEMETRY_DATABASE_URL", telemetry.url()),
    ])
    .await;
    post_status(&fleet, "NBTWODATABASES01").await;
    fleet.settled().await;
    for (database, query) in [
        (
            &state,
            "SELECT count(*) FROM vehicles WHERE lat = 52.5 AND provider_vehicle_id = 'NBTWODATABASES01'",
        ),
        (&state, "SELECT count(*) FROM settled_state_batches WHERE vehicles = 1"),
        (
            &state,
            "SELECT count(*) FROM pg_tables WHERE tablename IN ('vehicles', 'telemetry', 'settled_batches')",
        ),
        (&telemetry, "SELECT count(*) FROM telemetry WHERE lat = 52.5"),
        (&telemetry, "SELECT count(*) FROM settled_batches WHERE inserted = 1"),
        (&telemetry, "SELECT count(*) FROM pg_tables WHERE tablename IN ('vehicles', 'telemetry')"),
    ] {
        assert_eq!(count(database, query).await, 1, "{query}");
    }
    let id = "SELECT count(*) FROM telemetry WHERE vehicle_id = $1";
    let vehicle_id = fleet_providers::vehicle_id(PROVIDER, "NBTWODATABASES01");
    let found: i64 = telemetry.client().await.query_one(id, &[&vehicle_id]).await.unwrap().get(0);
    assert_eq!(found, 1, "both databases have the same id for the vehicle");
    fleet.stop().await;
}

//! The consumer under faults: killed consumers, outages, data that a database refuses, and shutdown.

use std::sync::Arc;
use std::time::Duration;

use fleet_consumer::commands::audit::ledgers::Audit;
use fleet_consumer::connect::Databases;
use fleet_queue::{ClaimLimits, Consumer, Lease, Mark, QueueKeys, RedisLink, RedisLinkOptions};
use fleet_store::{DatabaseOptions, Expired, Retention, RetentionPeriods};
use fleet_testbed::{DatabaseLogin, Postgres};
use uuid::Uuid;

use crate::support::{Fleet, TOKEN, TestDatabase, eventually, redis_url};

const INSTANT: Duration = Duration::from_millis(1);

/// Posts NIU reports of these vehicles, one message each.
async fn post(fleet: &Fleet, vehicles: &[&str]) {
    for vehicle in vehicles {
        let report = serde_json::json!({ "sn": vehicle, "infoTimestamp": now_ms(), "nowSpeed": 7 });
        post_body(fleet, &report).await;
    }
}

async fn post_body(fleet: &Fleet, body: &serde_json::Value) {
    let request = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api)).header("token", TOKEN);
    let answer = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The vehicles that have a row, sorted.
async fn vehicles(database: &TestDatabase) -> Vec<String> {
    let query = "SELECT provider_vehicle_id FROM vehicles ORDER BY 1";
    database.client().await.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The reason of every dead letter, and the vehicle in its envelope.
async fn dead_letters(database: &TestDatabase) -> Vec<(String, String)> {
    let query = "SELECT reason, substring(encode(message.envelope, 'escape') FROM '\"sn\":\"([^\"]*)\"')
                   FROM dead_letters JOIN dead_messages AS message USING (message_id) ORDER BY 2";
    let rows = database.client().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A consumer that dies while it holds a marked batch.
struct Doomed {
    consumer: Consumer,
    lease: Lease,
}

impl Doomed {
    async fn claim(fleet: &Fleet) -> Self {
        let link =
            Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis_url(), Duration::from_secs(3))).unwrap());
        let consumer = Consumer::new(link, &fleet.settings.queue.prefix, "niu");
        let limits = ClaimLimits { max_messages: 100, max_bytes: 1 << 20, lease: INSTANT };
        let lease = consumer.claim(Uuid::now_v7(), Uuid::now_v7(), limits).await.unwrap().unwrap();
        Self { consumer, lease }
    }

    async fn mark(&self, mark: Mark) {
        assert!(self.consumer.mark(&self.lease, mark).await.unwrap());
    }

    /// The next owner takes the batch over after the lease has expired.
    async fn replace(&mut self) {
        self.lease = eventually("the lease to expire", async || {
            self.consumer.take_over_expired(Uuid::now_v7(), INSTANT).await.unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn deaths_while_parsing_prove_nothing_against_a_message_that_can_be_parsed() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "SUSPECT", "B"]).await;
    let mut doomed = Doomed::claim(&fleet).await;
    for deaths in 1..=5 {
        doomed.replace().await;
        assert_eq!(doomed.lease.takeovers, deaths);
    }
    // The record that a consumer of an earlier release leaves if it is killed while it parses the second message.
    let record = format!("{} 5 1 items:1", doomed.lease.token);
    let client = redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = QueueKeys::new(&fleet.settings.queue.prefix, "niu").owners;
    let mut command = redis::cmd("HSET");
    command.arg(key).arg(doomed.lease.id.to_string()).arg(record);
    command.exec_async(&mut connection).await.unwrap();
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["A", "B", "SUSPECT"]);
    assert_eq!(dead_letters(&database).await, []);
}

#[tokio::test]
async fn deaths_during_an_outage_bury_nothing() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "B"]).await;
    let mut doomed = Doomed::claim(&fleet).await;
    for _ in 0..5 {
        // The messages are parsed. A death from now on is not their fault.
        doomed.mark(Mark::Clear).await;
        doomed.replace().await;
    }
    assert_eq!(doomed.lease.takeovers, 0);
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["A", "B"]);
    assert_eq!(dead_letters(&database).await, []);
}

#[tokio::test]
async fn what_a_database_refuses_is_narrowed_down_to_its_record() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    client
        .batch_execute(
            "ALTER TABLE telemetry ADD CONSTRAINT refused CHECK (raw->>'sn' <> 'TELEMETRY');
             ALTER TABLE vehicles ADD CONSTRAINT refused CHECK (provider_vehicle_id <> 'STATE')",
        )
        .await
        .unwrap();
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "TELEMETRY", "B", "STATE", "C"]).await;
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["A", "B", "C", "TELEMETRY"]);
    let refused = |vehicle: &str| ("rejected_by_database".to_owned(), vehicle.to_owned());
    assert_eq!(dead_letters(&database).await, [refused("STATE"), refused("TELEMETRY")]);
    let sums = "SELECT sum(records), sum(inserted), sum(dead_lettered) FROM settled_batches";
    let row = client.query_one(sums, &[]).await.unwrap();
    assert_eq!([row.get::<_, i64>(0), row.get(1), row.get(2)], [5, 4, 1]);
}

#[tokio::test]
async fn a_large_batch_is_stored_in_parts() {
    let database = TestDatabase::migrated().await;
    let variables =
        [("FLEET_DATABASE_URL", database.url()), ("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", "10")];
    let fleet = Fleet::start_with(&variables).await;
    let reports: Vec<_> =
        (0..95).map(|index| serde_json::json!({ "sn": format!("V{index}"), "time": now_ms() })).collect();
    post_body(&fleet, &serde_json::Value::from(reports)).await;
    fleet.settled().await;
    assert_eq!(vehicles(&database).await.len(), 95);
    for (table, sum) in [("settled_batches", "inserted"), ("settled_state_batches", "vehicles")] {
        let query = format!("SELECT count(*), max(records), sum({sum}) FROM {table}");
        let row = database.client().await.query_one(&query, &[]).await.unwrap();
        assert_eq!(
            (row.get::<_, i64>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)),
            (10, 10, 95),
            "{table}"
        );
    }
}

#[tokio::test]
async fn a_part_that_is_stored_already_is_only_acked() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "B"]).await;
    let doomed = Doomed::claim(&fleet).await;
    // As if the owner had died after its commits and before its ack.
    let lease_id = doomed.lease.id;
    let client = database.client().await;
    for statement in [
        "INSERT INTO settled_batches VALUES ($1, 0, 2, 'niu', 2, 0, 0)",
        "INSERT INTO settled_state_batches VALUES ($1, 0, 2, 'niu', 2)",
    ] {
        client.execute(statement, &[&lease_id]).await.unwrap();
    }
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, Vec::<String>::new(), "nothing was written again");
}

#[tokio::test]
async fn an_outage_of_the_database_loses_nothing() {
    let mut postgres = tokio::task::spawn_blocking(|| Postgres::private(&[]).unwrap()).await.unwrap();
    let url = postgres.url();
    for schema in [fleet_store::Schema::State, fleet_store::Schema::Telemetry] {
        fleet_store::migrate(&DatabaseOptions::new(&DatabaseLogin::Migrator.of(&url)), schema).await.unwrap();
    }
    let variables = [("FLEET_DATABASE_URL", url.as_str()), ("FLEET_CONSUMER__RETRY_MAX", "200ms")];
    let fleet = Fleet::start_with(&variables).await;
    post(&fleet, &["BEFORE"]).await;
    fleet.settled().await;
    postgres.stop_immediate().unwrap();
    post(&fleet, &["DURING1", "DURING2"]).await;
    eventually("a batch to be at work", async || (fleet.queue("niu").await.leases > 0).then_some(())).await;
    postgres.restart().unwrap();
    fleet.settled().await;
    let found =
        postgres.psql("SELECT string_agg(provider_vehicle_id, ' ' ORDER BY 1) FROM vehicles").unwrap();
    assert_eq!(found.trim(), "BEFORE DURING1 DURING2");
    fleet.stop().await;
}

#[tokio::test]
async fn shutdown_during_an_outage_releases_the_batch() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[
        ("FLEET_DATABASE_URL", database.url()),
        ("FLEET_CONSUMER__SHUTDOWN_TIMEOUT", "100ms"),
    ])
    .await;
    post(&fleet, &["A"]).await;
    // The consumer's transaction waits for this lock.
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE vehicles").await.unwrap();
    fleet.start_consumer();
    eventually("the batch to be at work", async || (fleet.queue("niu").await.leases == 1).then_some(()))
        .await;
    let (prefix, settings) = (fleet.settings.queue.prefix.clone(), fleet.settings.clone());
    fleet.stop().await;
    let link =
        Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis_url(), settings.queue.timeout)).unwrap());
    let consumer = Consumer::new(link, &prefix, "niu");
    let lease = consumer.take_over_expired(Uuid::now_v7(), INSTANT).await.unwrap();
    let lease = lease.expect("a released batch is free at once, long before its lease of 30 s runs out");
    assert_eq!((lease.items.len(), lease.takeovers), (1, 0));
}

#[tokio::test]
async fn a_batch_stands_aside_until_its_schema_is_right() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A"]).await;
    client.batch_execute("ALTER TABLE vehicles RENAME COLUMN lat TO latitude").await.unwrap();
    fleet.start_consumer();
    eventually("the batch to stand aside", async || (fleet.queue("niu").await.parked == 1).then_some(()))
        .await;
    let stored = client.query_one("SELECT count(*) FROM telemetry", &[]).await.unwrap();
    assert_eq!((stored.get::<_, i64>(0), dead_letters(&database).await.len()), (1, 0));
    client.batch_execute("ALTER TABLE vehicles RENAME COLUMN latitude TO lat").await.unwrap();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["A"]);
}

/// The result of `fleet-consumer audit`.
async fn audit(fleet: &Fleet) -> Audit {
    Audit::read(&fleet.settings).await.unwrap()
}

#[tokio::test]
async fn the_audit_balances_until_something_is_missing() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    post(&fleet, &["A", "A", ""]).await;
    fleet.settled().await;
    let balanced = audit(&fleet).await;
    assert!(balanced.balances(), "{balanced}");
    assert!(balanced.to_string().contains("niu"), "{balanced}");

    database.client().await.batch_execute("DELETE FROM settled_state_batches").await.unwrap();
    assert!(!audit(&fleet).await.balances(), "one database lacks what the other one has");
}

#[tokio::test]
async fn the_audit_finds_a_message_that_left_the_queue_by_itself() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "B"]).await;
    assert!(audit(&fleet).await.balances());
    let client = redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = QueueKeys::new(&fleet.settings.queue.prefix, "niu").queue;
    redis::cmd("LPOP").arg(key).exec_async(&mut connection).await.unwrap();
    assert!(!audit(&fleet).await.balances());
}

#[tokio::test]
async fn retention_forgets_the_same_batches_on_both_sides() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    post(&fleet, &["A", ""]).await;
    fleet.settled().await;
    let databases = Databases::new(&fleet.settings_as(DatabaseLogin::Migrator)).unwrap();
    let keep = Duration::from_secs(3600);
    let mut periods = RetentionPeriods { telemetry: keep, dead_letters: keep, settled_batches: keep };
    let retention = Retention::new(databases.state, databases.telemetry);
    let nothing = retention.expire(periods).await.unwrap();
    assert_eq!(nothing, Expired::default());
    periods.settled_batches = Duration::ZERO;
    periods.dead_letters = Duration::ZERO;
    let expired = retention.expire(periods).await.unwrap();
    assert_eq!(expired.dead_letters, 1);
    assert!(expired.settled_batches >= 2 && expired.settled_batches % 2 == 0, "{expired:?}");
    assert!(audit(&fleet).await.balances());
}

#[tokio::test]
async fn a_claim_asked_again_never_makes_a_second_batch() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A"]).await;
    let mut doomed = Doomed::claim(&fleet).await;
    let (id, token) = (doomed.lease.id, doomed.lease.token);
    let limits = ClaimLimits { max_messages: 100, max_bytes: 1 << 20, lease: INSTANT };
    let again = doomed.consumer.claim_again(id, token, limits).await.unwrap().unwrap();
    assert_eq!(again.items, doomed.lease.items, "only the reply was lost");
    // The owner was away for so long that another consumer has settled its batch.
    doomed.replace().await;
    assert_eq!(doomed.consumer.ack(&doomed.lease).await.unwrap(), 1);
    post(&fleet, &["B"]).await;
    assert!(doomed.consumer.claim_again(id, token, limits).await.unwrap().is_none());
    assert_eq!(fleet.queue("niu").await.waiting_messages, 1);
}

#[tokio::test]
async fn a_batch_that_was_stored_in_part_is_completed_and_balances() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A", "B", "C"]).await;
    let doomed = Doomed::claim(&fleet).await;
    // As if the owner had split the part, and died after it stored the first half on one side.
    let part = "INSERT INTO settled_state_batches VALUES ($1, 0, 1, 'niu', 1)";
    database.client().await.execute(part, &[&doomed.lease.id]).await.unwrap();
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["A", "B", "C"]);
    let audit = audit(&fleet).await;
    assert!(audit.balances(), "{audit}");
}

#[tokio::test]
async fn whoever_takes_a_batch_over_has_it_marked() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    post(&fleet, &["A"]).await;
    let mut doomed = Doomed::claim(&fleet).await;
    doomed.mark(Mark::Clear).await;
    doomed.replace().await;
    assert_eq!(doomed.lease.takeovers, 0, "its first owner had already parsed it");
    doomed.replace().await;
    assert_eq!(doomed.lease.takeovers, 1, "its second owner died while parsing");
    // The reply to a takeover was lost. The retry returns the same batch and counts no death.
    let (id, token) = (doomed.lease.id, doomed.lease.token);
    let again = doomed.consumer.take_over_lease(id, token, INSTANT).await.unwrap().unwrap();
    assert_eq!((again.items, again.takeovers), (doomed.lease.items, 1));
}

#[tokio::test]
async fn many_bad_events_of_a_message_are_one_dead_letter() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let mut reports = vec![serde_json::json!({ "renamed": "X" }); 100];
    reports.insert(50, serde_json::json!({ "sn": "GOOD", "time": now_ms() }));
    post_body(&fleet, &serde_json::Value::from(reports)).await;
    fleet.settled().await;
    assert_eq!(vehicles(&database).await, ["GOOD"]);
    let query = "SELECT event_index, reason, detail FROM dead_letters";
    let row = database.client().await.query_one(query, &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (-1, "missing_vehicle_id"));
    assert!(row.get::<_, &str>(2).starts_with("100 of 101 events, the first being event 0"));
}

#[tokio::test]
async fn a_side_that_is_slow_gets_smaller_parts_although_the_other_one_is_done() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON telemetry FOR EACH ROW EXECUTE FUNCTION slow()";
    client.batch_execute(slow).await.unwrap();
    let settings = [("FLEET_DATABASE_URL", database.url()), ("FLEET_DATABASE__STATEMENT_TIMEOUT", "300ms")];
    let mut fleet = Fleet::api_only(&settings).await;
    let reports: Vec<_> = (0..40)
        .map(|number| serde_json::json!({ "sn": format!("V{number}"), "infoTimestamp": now_ms() }))
        .collect();
    post_body(&fleet, &serde_json::Value::from(reports)).await;
    fleet.start_consumer();
    fleet.settled().await;
    let stored =
        client.query_one("SELECT count(*), count(DISTINCT vehicle_id) FROM telemetry", &[]).await.unwrap();
    assert_eq!((stored.get::<_, i64>(0), stored.get::<_, i64>(1)), (40, 40));
    let parts = client.query_one("SELECT count(*) FROM settled_batches", &[]).await.unwrap();
    assert!(parts.get::<_, i64>(0) >= 4, "the part was not split");
    assert_eq!(dead_letters(&database).await, []);
}

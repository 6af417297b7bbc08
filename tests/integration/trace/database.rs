//! What `trace` finds in the databases.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use fleet_consumer::connect::Databases;
use fleet_queue::{ClaimLimits, Consumer, Envelope, Producer, RedisLink, RedisLinkOptions};
use fleet_store::{Retention, RetentionPeriods, statements};
use fleet_testbed::DatabaseLogin;
use uuid::Uuid;

use super::{command, found, post, report, trace_as};
use crate::support::{Fleet, TestDatabase, eventually, redis_url};

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_are_shown_up_to_a_bound() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let one = post(&fleet, &report(1)).await;
    let reports: Vec<_> = (100..130).map(report).collect();
    let many = post(&fleet, &format!("[{}]", reports.join(","))).await;
    let days = 24 * 60 * 60;
    let late = post(&fleet, &format!("[{},{}]", report(2), report(3 * days))).await;
    fleet.settled().await;
    let long_ago = format!("niu status vehicle TRACED{} (", 3 * days);
    found(&fleet, &database, late, &["stored: 2 events", "vehicle TRACED2 (", &long_ago]).await;
    let said = found(&fleet, &database, one, &["stored: 1 events", "niu status vehicle TRACED1 ("]).await;
    assert!(!said.contains("duplicate"), "{said}");
    let said = found(&fleet, &database, many, &["stored: 30 events", "and 10 more"]).await;
    assert_eq!(said.matches("observed ").count(), 20, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_name_the_earlier_message() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let first = post(&fleet, &report(1)).await;
    fleet.settled().await;
    let again = post(&fleet, &report(1)).await;
    fleet.settled().await;
    let earlier = format!("is an event of message {first}, received ");
    let said = ["duplicate: 1 of 1 events", &earlier, "vehicle TRACED1 ("];
    let said = found(&fleet, &database, again, &said).await;
    assert!(!said.contains("stored:"), "{said}");
    let both = post(&fleet, &format!("[{},{}]", report(2), report(1))).await;
    fleet.settled().await;
    found(&fleet, &database, both, &["stored: 1 events", "duplicate: 1 of 2 events", &earlier]).await;
    let twice = post(&fleet, &format!("[{0},{0}]", report(3))).await;
    fleet.settled().await;
    found(&fleet, &database, twice, &["stored: 1 events", "1 of its events have no row of their own"]).await;
    let said = found(&fleet, &database, first, &["stored: 1 events"]).await;
    assert!(!said.contains("duplicate"), "{said}");
}

/// The messages come twice, in two batches, as after a consumer that died between its commit and its ack.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_delivered_again_is_no_duplicate_of_itself() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let id = Uuid::now_v7();
    let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
    let received_at = jiff::Timestamp::new(seconds.cast_signed(), nanoseconds.cast_signed()).unwrap();
    let body = report(1);
    let body = body.as_bytes();
    let envelope =
        Envelope { message_id: id, received_at, topic: "", content_type: None, traceparent: None, body };
    let link = RedisLink::open(&RedisLinkOptions::new(&redis_url(), Duration::from_secs(3))).unwrap();
    let producer = Producer::new(link.into(), &fleet.settings.queue.prefix, "niu");
    for _ in 0..2 {
        producer.push(&[envelope.encode()]).await.unwrap();
        fleet.settled().await;
    }
    let noted = "SELECT duplicates FROM unstored_messages WHERE message_id = $1";
    let noted: i32 = database.client().await.query_one(noted, &[&id]).await.unwrap().get(0);
    assert_eq!(noted, 1, "the second delivery has found the first one's row");
    let said = found(&fleet, &database, id, &["stored: 1 events"]).await;
    assert!(!said.contains("duplicate"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_are_remembered() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    // One batch with only this message, and one with a report after it.
    let alone = post(&fleet, "[]").await;
    fleet.start_consumer();
    fleet.settled().await;
    found(&fleet, &database, alone, &["empty: niu sent an array without events"]).await;
    fleet.stop().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    let beside = post(&fleet, "[]").await;
    let report = post(&fleet, &report(1)).await;
    fleet.start_consumer();
    fleet.settled().await;
    found(&fleet, &database, beside, &["empty: niu"]).await;
    found(&fleet, &database, report, &["stored: 1 events"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_outlive_the_first_owner_of_their_batch() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    let id = post(&fleet, "[]").await;
    let link = RedisLink::open(&RedisLinkOptions::new(&redis_url(), Duration::from_secs(3))).unwrap();
    let doomed = Consumer::new(link.into(), &fleet.settings.queue.prefix, "niu");
    let limits = ClaimLimits { max_messages: 10, max_bytes: 1 << 20, lease: Duration::from_millis(1) };
    assert!(doomed.claim(Uuid::now_v7(), Uuid::now_v7(), limits).await.unwrap().is_some());
    fleet.start_consumer();
    fleet.settled().await;
    found(&fleet, &database, id, &["empty: niu"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_come_with_what_to_do() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let id = post(&fleet, &format!(r#"[{},{{"no":"vehicle"}}]"#, report(1))).await;
    fleet.settled().await;
    let show = format!("fleet-consumer dead-letters show {id}");
    let replay = format!("fleet-consumer dead-letters replay --message-id {id}");
    let said = ["stored: 1 events", "niu event 1: missing_vehicle_id (", "tried 1 times", &show, &replay];
    found(&fleet, &database, id, &said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named_and_the_rest_is_searched() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let stored = post(&fleet, &report(1)).await;
    let dead = post(&fleet, "not json").await;
    fleet.settled().await;
    for (login, code) in [(DatabaseLogin::Consumer, 1), (DatabaseLogin::Migrator, 0)] {
        let ended = trace_as(login, &fleet, &database, &stored.to_string()).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let refused = ended.output.contains("not searched: telemetry: ");
        assert_eq!(refused && ended.output.contains("for `trace` of fleet_reader"), code == 1, "{ended:?}");
    }
    // In a pod the command has the consumer's own login.
    let mut command = command(DatabaseLogin::Consumer, &fleet, &database, &stored.to_string());
    command.arg("--telemetry-url-from-stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let url = database.url_as(DatabaseLogin::Reader);
    child.stdin.take().unwrap().write_all(format!("{url}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("stored: 1 events"), "{said}");
    assert!(said.contains("vehicle TRACED1 ("), "the state is read with the consumer's login: {said}");
    let ended = trace_as(DatabaseLogin::Consumer, &fleet, &database, &dead.to_string()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("niu the whole message: unparsable"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_forgets_the_notes() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let ids = [post(&fleet, "[]").await, post(&fleet, "[]").await];
    fleet.settled().await;
    let client = database.client().await;
    let seconds = u64::try_from(jiff::Timestamp::now().as_second()).unwrap() - (7 * 24 * 60 + 1) * 60;
    let old = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    let age = "UPDATE unstored_messages SET message_id = $2 WHERE message_id = $1";
    assert_eq!(client.execute(age, &[&ids[0], &old]).await.unwrap(), 1);
    found(&fleet, &database, old, &["empty: niu"]).await;
    let databases = Databases::new(&fleet.settings_as(DatabaseLogin::Migrator)).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let periods = RetentionPeriods { telemetry: 90 * day, dead_letters: 90 * day, settled_batches: day };
    let expired = Retention::new(databases.state, databases.telemetry).expire(periods).await.unwrap();
    assert_eq!(expired.unstored_messages, 1);
    found(&fleet, &database, ids[1], &["empty: niu"]).await;
    let gone = trace_as(DatabaseLogin::Reader, &fleet, &database, &old.to_string()).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
}

/// PostgreSQL evaluates the anti-join only if an event is a duplicate.
#[tokio::test]
async fn without_duplicates_the_statement_does_not_look_for_them() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    let rows = "CREATE FUNCTION events(messages int) RETURNS telemetry_row[] LANGUAGE sql AS $$
        SELECT array_agg(ROW(md5('v' || n)::uuid, '2026-01-31'::timestamptz, md5('e' || n)::uuid, now(),
                             md5('m' || n + messages)::uuid, '', '', 1, 2, 3, 4, '{}'::json)::telemetry_row)
          FROM generate_series(1, 2000) AS n $$";
    let prepare = format!(
        "PREPARE store (text, uuid, int4, int4, telemetry_row[], uuid[], int4[], text[], text[], timestamptz[], uuid[], bytea[], int4) \
         AS {}",
        statements::STORE_TELEMETRY
    );
    client.batch_execute(&format!("{rows}; {prepare}")).await.unwrap();
    let explain = async |messages: i32| {
        let call = format!(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE store('niu', gen_random_uuid(), 0, 2000, \
             events({messages}), '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', 0)"
        );
        let lines = client.query(&call, &[]).await.unwrap();
        let plan = lines.iter().map(|line| line.get(0)).collect::<Vec<String>>().join("\n");
        let noting = plan.split("CTE noted").nth(1).and_then(|rest| rest.split("CTE settled").next());
        noting.unwrap_or_else(|| panic!("no messages are noted: {plan}")).to_owned()
    };
    let noted = async || -> i64 {
        client.query_one("SELECT count(*) FROM unstored_messages", &[]).await.unwrap().get(0)
    };
    let first = explain(0).await;
    let (_before, guarded) =
        first.split_once("One-Time Filter").unwrap_or_else(|| panic!("there is no guard: {first}"));
    let nodes: Vec<_> = guarded.lines().filter(|line| line.contains("->")).collect();
    assert!(nodes.len() >= 4, "{first}");
    assert!(nodes.iter().all(|node| node.contains("(never executed)")), "{first}");
    assert_eq!(noted().await, 0);
    // Other messages with the same events: the statement records a limited number of messages.
    let again = explain(5000).await;
    assert!(!again.contains("(never executed)"), "{again}");
    assert_eq!(noted().await, 1000);
}

/// `migrate` repairs what an interrupted run has left.
#[tokio::test]
async fn an_index_that_is_not_whole_is_built_again() {
    let database = TestDatabase::migrated().await;
    let (client, mut other) = (database.client().await, database.client().await);
    let chunks = "DROP INDEX telemetry_received_at;
        INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, raw)
        SELECT gen_random_uuid(), now() - day * interval '1 day', gen_random_uuid(), now(), gen_random_uuid(), '', '', '', '{}'
          FROM generate_series(1, 3) AS day";
    client.batch_execute(chunks).await.unwrap();
    let last = "SELECT max(format('%I.%I', chunk_schema, chunk_name)) FROM timescaledb_information.chunks";
    let last: String = client.query_one(last, &[]).await.unwrap().get(0);
    let lock = other.transaction().await.unwrap();
    lock.batch_execute(&format!("LOCK TABLE {last} IN ROW EXCLUSIVE MODE")).await.unwrap();
    client.batch_execute("SET lock_timeout = '100ms'").await.unwrap();
    let create = "CREATE INDEX telemetry_received_at ON telemetry USING brin (received_at)
                  WITH (timescaledb.transaction_per_chunk)";
    let interrupted = client.batch_execute(create).await.unwrap_err();
    assert_eq!(interrupted.code().map(tokio_postgres::error::SqlState::code), Some("55P03"), "{interrupted}");
    lock.rollback().await.unwrap();
    let indexes = async || {
        let valid = "SELECT count(*) FILTER (WHERE indisvalid), bool_and(indisvalid) FROM pg_index
                       JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE '%telemetry_received_at'";
        let row = client.query_one(valid, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, Option<bool>>(1))
    };
    let left = indexes().await;
    assert!(left.0 > 0 && left.1 == Some(false), "some chunks have it: {left:?}");
    database.migrate(fleet_store::Schema::Telemetry).await;
    assert_eq!(indexes().await, (4, Some(true)), "the table and three chunks");
}

/// As for every missing right: the consumer retries telemetry until `migrate` has granted it.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_grant_is_missing_waits_for_it() {
    let database = TestDatabase::migrated().await;
    let client = database.client().await;
    client.batch_execute("REVOKE SELECT (event_id) ON telemetry FROM fleet_consumer").await.unwrap();
    let fleet = Fleet::start(&database).await;
    let id = post(&fleet, &report(1)).await;
    let refused = "SELECT count(*) FROM vehicles WHERE provider_vehicle_id = 'TRACED1'";
    eventually("the state to have it", async || {
        let rows: i64 = client.query_one(refused, &[]).await.unwrap().get(0);
        (rows == 1).then_some(())
    })
    .await;
    assert_eq!(fleet.queue("niu").await.backlog().messages, 1, "telemetry has not taken it");
    database.migrate(fleet_store::Schema::Telemetry).await;
    fleet.settled().await;
    found(&fleet, &database, id, &["stored: 1 events"]).await;
}

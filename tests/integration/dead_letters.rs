//! The commands for dead letters: they find, replay and delete exactly what they are asked for.

mod bytes;

use std::process::{Command, Output, Stdio};

use fleet_store::{DeadLetterFilter, DeadLetterStore};
use fleet_testbed::DatabaseLogin;
use uuid::Uuid;

use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

/// Runs the real `fleet-consumer` with the fleet's configuration.
fn consumer(fleet: &Fleet, database: &TestDatabase, arguments: &[&str]) -> Output {
    command(fleet, database, arguments).output().unwrap()
}

fn command(fleet: &Fleet, database: &TestDatabase, arguments: &[&str]) -> Command {
    let folder =
        std::env::var("FLEET_TEST_BIN_DIR").expect("run `cargo xtask test`, which builds the binaries");
    let mut command = Command::new(format!("{folder}/fleet-consumer"));
    command
        .arg("dead-letters")
        .args(arguments)
        .env("FLEET_REDIS_URL", fleet.settings.redis_url.expose())
        .env("FLEET_QUEUE__PREFIX", &fleet.settings.queue.prefix)
        .env("FLEET_DATABASE_URL", database.url_as(DatabaseLogin::Consumer));
    command
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A fleet with one stored vehicle and two dead letters with different reasons.
async fn fleet_with_dead_letters(database: &TestDatabase) -> Fleet {
    let fleet = Fleet::start(database).await;
    for body in [r#"[{"sn":"GOOD"},{"no":"vehicle"}]"#, "not json"] {
        let request =
            reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api)).header("token", TOKEN);
        assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    }
    fleet.settled().await;
    fleet
}

async fn count(fleet: &Fleet) -> i64 {
    let databases = fleet_consumer::connect::Databases::new(&fleet.settings).unwrap();
    DeadLetterStore::new(databases.telemetry).count(&DeadLetterFilter::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_show() {
    let database = TestDatabase::migrated().await;
    let fleet = fleet_with_dead_letters(&database).await;
    let all = printed(&consumer(&fleet, &database, &["list"]));
    assert!(
        all.contains("missing_vehicle_id") && all.contains("unparsable") && all.contains("2 in all"),
        "{all}"
    );
    let some = printed(&consumer(&fleet, &database, &["list", "--reason", "unparsable"]));
    assert!(!some.contains("missing_vehicle_id") && some.contains("1 in all"), "{some}");
    let none = printed(&consumer(&fleet, &database, &["list", "--provider", "segway"]));
    assert!(none.contains("0 in all"), "{none}");

    let query = "SELECT message_id::text FROM dead_letters WHERE reason = 'unparsable'";
    let id: String = database.client().await.query_one(query, &[]).await.unwrap().get(0);
    let shown = printed(&consumer(&fleet, &database, &["show", &id]));
    assert!(shown.contains(&format!("1 {id} ")) && shown.contains("\nnot json"), "{shown}");
    let missing = consumer(&fleet, &database, &["show", "00000000-0000-7000-8000-000000000000"]);
    assert_eq!(missing.status.code(), Some(1));
    for nonsense in
        [["--reason", "nonsense"], ["--provider", "nonsense"], ["--since", "nonsense"], ["--limit", "0"]]
    {
        let refused = consumer(&fleet, &database, &[&["list"], &nonsense[..]].concat());
        assert_eq!(refused.status.code(), Some(64), "{nonsense:?}");
    }
}

/// Adds `letters` dead letters of one message as the previous release did: each has its own copy of the bytes.
async fn bury(database: &TestDatabase, message_id: Uuid, letters: i32, envelope: &str) {
    let statement = "INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, envelope)
         SELECT $1, index, 'niu', 'rejected_by_database', 'number ' || index, $3
           FROM generate_series(0, $2 - 1) AS index";
    let client = database.client().await;
    client.execute(statement, &[&message_id, &letters, &envelope.as_bytes()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn show_has_every_dead_letter_of_a_message() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    let id = Uuid::now_v7();
    bury(&database, id, 1203, "the one envelope").await;
    let shown = printed(&consumer(&fleet, &database, &["show", &id.to_string()]));
    for index in [0, 19, 20, 21, 500, 1202] {
        assert!(shown.contains(&format!("event {index}: rejected_by_database (number {index})")), "{index}");
    }
    assert_eq!(shown.lines().filter(|line| line.starts_with("event ")).count(), 1203);
    assert_eq!(shown.matches("the one envelope").count(), 1);

    // `head` closes the pipe as soon as it has enough.
    let mut child = command(&fleet, &database, &["show", &id.to_string()]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn show_cuts_a_long_body_unless_told_otherwise() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    let header = |id| format!("1 {id} 1718000000123 - application/json -\n");
    let show = |id: Uuid, more: &[&str]| {
        let id = id.to_string();
        printed(&consumer(&fleet, &database, &[&["show", &id], more].concat()))
    };
    for (bytes, shown_bytes) in [(4096, 4096), (4097, 4096), (1_000_000, 4096)] {
        let id = Uuid::now_v7();
        bury(&database, id, 1, &(header(id) + &"x".repeat(bytes))).await;
        let note = format!("({} of the body's {bytes} bytes are not shown; --full", bytes - shown_bytes);
        let shown = show(id, &[]);
        assert!(shown.contains(header(id).trim_end()), "{shown}");
        assert!(shown.contains(&format!("\n{}\n", "x".repeat(shown_bytes))), "{bytes}: {}", shown.len());
        assert_eq!(shown.contains(&note), bytes > shown_bytes, "{bytes}: {}", shown.len());
        let full = show(id, &["--full"]);
        assert!(full.contains(&format!("\n{}\n", "x".repeat(bytes))) && !full.contains("not shown"));
    }
    // The same limit applies to bytes that are not an envelope.
    let id = Uuid::now_v7();
    bury(&database, id, 1, &"y".repeat(5000)).await;
    let shown = show(id, &[]);
    assert!(shown.contains("(904 of the body's 5000 bytes are not shown"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_pushes_a_message_once_and_leaves_what_died_again() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    let messages: Vec<_> = (0..45).map(|_| Uuid::now_v7()).collect();
    for message in &messages {
        bury(&database, *message, 30, "an envelope").await;
    }
    // As if a consumer had retried one of them while the replay runs.
    let again = "UPDATE dead_letters SET last_dead_at = now() + INTERVAL '1 hour' WHERE message_id = $1 AND event_index = 7";
    database.client().await.execute(again, &[&messages[3]]).await.unwrap();
    let dry = printed(&consumer(&fleet, &database, &["replay", "--dry-run"]));
    assert!(
        dry.contains("1350 dead letters of 45 messages") && dry.contains("rejected_by_database"),
        "{dry}"
    );
    assert_eq!(fleet.queue("niu").await.accepted.messages, 0);
    let output = printed(&consumer(&fleet, &database, &["replay"]));
    assert!(output.contains("put 45 messages of 1349 dead letters"), "{output}");
    assert_eq!(fleet.queue("niu").await.accepted.messages, 45);
    assert_eq!(count(&fleet).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_may_be_dates_and_have_their_beginning_but_not_their_end() {
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await;
    for day in ["2026-01-31T00:00:00Z", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"] {
        let id = Uuid::now_v7();
        bury(&database, id, 1, "an envelope").await;
        let died = format!("UPDATE dead_letters SET last_dead_at = '{day}' WHERE message_id = '{id}'");
        database.client().await.batch_execute(&died).await.unwrap();
    }
    for (times, letters) in [
        (["--since", "2026-01-31", "--until", "2026-02-01"], 2),
        (["--since", "2026-01-31T00:00:01Z", "--until", "2026-02-01"], 1),
        (["--since", "2026-02-01", "--until", "2026-02-02T01:00:00+01:00"], 1),
    ] {
        let listed = printed(&consumer(&fleet, &database, &[&["list"], &times[..]].concat()));
        assert!(listed.contains(&format!("{letters} in all")), "{times:?}: {listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_goes_through_the_queue_and_can_be_repeated() {
    let database = TestDatabase::migrated().await;
    let fleet = fleet_with_dead_letters(&database).await;
    let dry = printed(&consumer(&fleet, &database, &["replay", "--dry-run"]));
    assert!(dry.contains("2 dead letters"), "{dry}");
    assert_eq!(fleet.queue("niu").await.accepted.messages, 2);
    for round in 1..=2 {
        let output = printed(&consumer(&fleet, &database, &["replay"]));
        assert!(output.contains("put 2 messages"), "{output}");
        fleet.settled().await;
        assert_eq!(fleet.queue("niu").await.accepted.messages, 2 + 2 * round);
        // The cause was not fixed, so they become dead letters again. Data that was stored before is not stored twice.
        eventually("both to be dead again", async || (count(&fleet).await == 2).then_some(())).await;
    }
    let rows = database.client().await.query_one("SELECT count(*) FROM telemetry", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_removes_what_the_filter_names() {
    let database = TestDatabase::migrated().await;
    let fleet = fleet_with_dead_letters(&database).await;
    let dry = printed(&consumer(&fleet, &database, &["purge", "--dry-run", "--reason", "unparsable"]));
    assert!(dry.contains("1 dead letters"), "{dry}");
    assert_eq!(count(&fleet).await, 2);
    let until = ["purge", "--until", "2020-01-01T00:00:00Z"];
    assert!(printed(&consumer(&fleet, &database, &until)).contains("removed 0"));
    printed(&consumer(&fleet, &database, &["purge", "--reason", "unparsable"]));
    assert_eq!(count(&fleet).await, 1);
}

//! The tools for dead letters: they find, replay and remove exactly what they are told to.

use std::process::Output;

use fleet_store::{DeadLetterFilter, count_dead_letters};

use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

/// Runs the real `fleet-consumer` with the fleet's configuration.
fn consumer(fleet: &Fleet, database: &TestDatabase, arguments: &[&str]) -> Output {
    let folder =
        std::env::var("FLEET_TEST_BIN_DIR").expect("run `cargo xtask test`, which builds the binaries");
    std::process::Command::new(format!("{folder}/fleet-consumer"))
        .arg("dead-letters")
        .args(arguments)
        .env("FLEET_REDIS_URL", fleet.settings.redis_url.expose())
        .env("FLEET_QUEUE__PREFIX", &fleet.settings.queue.prefix)
        .env("FLEET_DATABASE_URL", database.url())
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A fleet with one good vehicle and two dead letters of different reasons.
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
    let databases = fleet_consumer::service::Databases::new(&fleet.settings).unwrap();
    count_dead_letters(&databases.telemetry, &DeadLetterFilter::default()).await.unwrap()
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
    assert_eq!(consumer(&fleet, &database, &["list", "--reason", "nonsense"]).status.code(), Some(2));
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
        // Nothing was fixed: they are dead again. What was stored stays stored once.
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

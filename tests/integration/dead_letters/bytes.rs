//! The bytes of a message are stored once for all its dead letters, and deleted with the last of them.

use fleet_store::{
    Database, DatabaseOptions, DeadLetter, DeadLetterFilter, DeadLetterStore, StoreError, TelemetryStore,
    statements,
};
use fleet_testbed::DatabaseLogin;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{bury, consumer, count, printed};
use crate::support::{Fleet, TOKEN, TestDatabase, eventually};

const PROVIDER: &str = "niu";

fn database(test: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(&test.url_as(DatabaseLogin::Consumer))).unwrap()
}

fn letter(message_id: Uuid, event_index: i32, reason: &'static str) -> DeadLetter<'static> {
    DeadLetter {
        message_id,
        event_index,
        reason,
        detail: String::new(),
        received_at: None,
        envelope: b"the bytes",
    }
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// The number of dead letters, and the number of messages with bytes. Every letter must have bytes, and all bytes a
/// letter.
async fn kept(client: &Client) -> (i64, i64) {
    let without =
        "SELECT count(*) FROM dead_letters AS letter LEFT JOIN dead_messages AS message USING (message_id)
                    WHERE letter.envelope IS NULL AND message.envelope IS NULL";
    assert_eq!(number(client, without).await, 0, "dead letters without bytes");
    let orphaned = "SELECT count(*) FROM dead_messages
                     WHERE message_id NOT IN (SELECT dead_message_id FROM dead_letters WHERE dead_message_id IS NOT NULL)";
    assert_eq!(number(client, orphaned).await, 0, "bytes without a dead letter");
    let letters = number(client, "SELECT count(*) FROM dead_letters").await;
    (letters, number(client, "SELECT count(*) FROM dead_messages").await)
}

/// 1 MiB with eight events that have no vehicle. The text does not compress well.
fn megabyte(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut filler = || (0..(1 << 20) / 8 - 100).map(|_| random.alphanumeric()).collect::<String>();
    let events: Vec<_> = (0..8).map(|_| serde_json::json!({ "no": filler() })).collect();
    serde_json::Value::from(events).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_bad_events_of_a_megabyte_take_a_megabyte() {
    let test = TestDatabase::migrated().await;
    let fleet = Fleet::start(&test).await;
    let client = reqwest::Client::new();
    for seed in 0..20 {
        let request = client.post(format!("{}/webhooks/niu", fleet.api)).header("token", TOKEN);
        assert_eq!(request.body(megabyte(seed)).send().await.unwrap().status(), 200);
    }
    fleet.settled().await;
    let client = test.client().await;
    let bytes = "SELECT pg_total_relation_size('dead_letters') + pg_total_relation_size('dead_messages')";
    let bytes = number(&client, bytes).await;
    assert!((20 << 20..25 << 20).contains(&bytes), "{bytes} bytes");
    assert_eq!(kept(&client).await, (160, 20));
    fleet.stop().await;
}

#[tokio::test]
async fn the_bytes_go_with_the_last_letter() {
    let test = TestDatabase::migrated().await;
    let (telemetry, client) = (database(&test), test.client().await);
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let letters: Vec<_> =
        ids.iter().flat_map(|&id| [letter(id, 0, "too_old"), letter(id, 1, "unparsable")]).collect();
    TelemetryStore::new(telemetry.clone()).bury(PROVIDER, &letters).await.unwrap();
    assert_eq!(kept(&client).await, (4, 2));
    let dead_letters = DeadLetterStore::new(telemetry);
    let purge = async |reason: &str, message_id| {
        let filter =
            DeadLetterFilter { reason: Some(reason.to_owned()), message_id, ..DeadLetterFilter::default() };
        dead_letters.purge(&filter, |_| ()).await.unwrap()
    };
    assert_eq!(purge("too_old", None).await, 2);
    assert_eq!(kept(&client).await, (2, 2), "the other dead letters keep the bytes");
    assert_eq!(purge("unparsable", Some(ids[0])).await, 1);
    assert_eq!(kept(&client).await, (1, 1));
    let now = dead_letters.now().await.unwrap();
    assert_eq!(dead_letters.forget(&ids, now).await.unwrap(), 1);
    assert_eq!(kept(&client).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_the_release_before_are_as_good() {
    let test = TestDatabase::migrated().await;
    let fleet = Fleet::api_only(&[("FLEET_DATABASE_URL", test.url())]).await;
    let client = test.client().await;
    let (old, both) = (Uuid::now_v7(), Uuid::now_v7());
    bury(&test, old, 2, "the old bytes").await;
    // During an upgrade, consumers of both releases store dead letters of the same message.
    bury(&test, both, 1, "the bytes").await;
    TelemetryStore::new(database(&test)).bury(PROVIDER, &[letter(both, 1, "too_old")]).await.unwrap();
    assert_eq!(kept(&client).await, (4, 1));
    let run = |arguments: &[&str]| printed(&consumer(&fleet, &test, arguments));
    assert!(run(&["list"]).contains("4 in all"));
    for (id, bytes) in [(old, "the old bytes"), (both, "the bytes")] {
        let shown = run(&["show", &id.to_string()]);
        assert_eq!(shown.matches(bytes).count(), 1, "{shown}");
    }
    // A dead letter that is stored again drops its own copy.
    TelemetryStore::new(database(&test)).bury(PROVIDER, &[letter(both, 0, "too_old")]).await.unwrap();
    let copies = "SELECT count(*) FROM dead_letters WHERE envelope IS NOT NULL";
    assert_eq!((number(&client, copies).await, kept(&client).await), (2, (4, 1)));
    assert!(run(&["replay"]).contains("put 2 messages of 4 dead letters"));
    assert_eq!(fleet.queue(PROVIDER).await.accepted.messages, 2);
    bury(&test, old, 3, "the old bytes").await;
    assert!(run(&["purge", "--message-id", &old.to_string()]).contains("removed 3"));
    assert_eq!((count(&fleet).await, kept(&client).await), (0, (0, 0)));
}

/// Stores a dead letter as a consumer does, in a transaction that stays open.
async fn bury_in(client: &Client, message_id: Uuid, event_index: i32) {
    let (ids, index, reason) = (vec![message_id], vec![event_index], vec!["unparsable"]);
    let (received_at, bytes): (Vec<Option<std::time::SystemTime>>, _) = (vec![None], vec![&b"the bytes"[..]]);
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&PROVIDER, &ids, &index, &reason, &reason, &received_at, &ids, &bytes];
    client.execute(statements::BURY_DEAD_LETTERS, &parameters).await.unwrap();
}

/// Waits until a statement of this database waits for a lock.
async fn somebody_waits(client: &Client) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a statement to wait", async || (number(client, waiting).await > 0).then_some(())).await;
}

#[tokio::test]
async fn a_purge_waits_for_a_consumer_that_adds_a_letter() {
    let test = TestDatabase::migrated().await;
    let (telemetry, client) = (database(&test), test.client().await);
    let id = Uuid::now_v7();
    TelemetryStore::new(telemetry.clone()).bury(PROVIDER, &[letter(id, 0, "unparsable")]).await.unwrap();
    let adding = test.client_as(DatabaseLogin::Consumer).await;
    adding.batch_execute("BEGIN").await.unwrap();
    bury_in(&adding, id, 1).await;
    let purging = tokio::spawn(async move {
        DeadLetterStore::new(telemetry).purge(&DeadLetterFilter::default(), |_| ()).await
    });
    somebody_waits(&client).await;
    adding.batch_execute("COMMIT").await.unwrap();
    assert_eq!(purging.await.unwrap().unwrap(), 1);
    assert_eq!(kept(&client).await, (1, 1), "the new dead letter has its bytes");
}

#[tokio::test]
async fn a_consumer_that_adds_a_letter_waits_for_a_purge() {
    let test = TestDatabase::migrated().await;
    let (telemetry, client) = (database(&test), test.client().await);
    let id = Uuid::now_v7();
    let store = TelemetryStore::new(telemetry);
    for commit in [true, false] {
        store.bury(PROVIDER, &[letter(id, 0, "unparsable")]).await.unwrap();
        let purging = test.client_as(DatabaseLogin::Consumer).await;
        purging.batch_execute("BEGIN; DELETE FROM dead_letters").await.unwrap();
        let store = store.clone();
        let adding = tokio::spawn(async move { store.bury(PROVIDER, &[letter(id, 1, "unparsable")]).await });
        somebody_waits(&client).await;
        purging.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
        adding.await.unwrap().unwrap();
        assert_eq!(kept(&client).await, (if commit { 1 } else { 2 }, 1), "the new dead letter has its bytes");
    }
}

/// Whether the operation succeeded. After a deadlock the caller retries, as consumers and commands do.
fn is_done<T>(result: Result<T, StoreError>) -> bool {
    match result {
        Ok(_done) => true,
        Err(error) => {
            assert_eq!(error.label(), "40", "{error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_and_purges_beside_each_other_lose_no_bytes() {
    const ROUNDS: usize = 150;
    let test = TestDatabase::migrated().await;
    let telemetry = database(&test);
    let ids: Vec<_> = (0..3).map(|_| Uuid::now_v7()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let (telemetry, ids) = (telemetry.clone(), ids.clone());
        tasks.spawn(async move {
            let store = TelemetryStore::new(telemetry);
            for round in 0..ROUNDS {
                let index = i32::try_from((task + round) % 3).unwrap();
                let letters: Vec<_> = ids.iter().map(|&id| letter(id, index, "unparsable")).collect();
                while !is_done(store.bury(PROVIDER, &letters).await) {}
            }
        });
    }
    for task in 0..2 {
        let (dead_letters, ids) = (DeadLetterStore::new(telemetry.clone()), ids.clone());
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                let message_id = Some(ids[(task + round) % ids.len()]);
                let filter = DeadLetterFilter { message_id, ..DeadLetterFilter::default() };
                while !is_done(dead_letters.purge(&filter, |_| ()).await) {}
            }
        });
    }
    tasks.join_all().await;
    let client = test.client().await;
    let (_letters, messages) = kept(&client).await;
    let found =
        DeadLetterStore::new(telemetry).messages(&DeadLetterFilter::default(), None, 10).await.unwrap();
    assert_eq!(i64::try_from(found.len()).unwrap(), messages);
    assert!(found.iter().all(|message| message.envelope == b"the bytes"));
}

//! The operators' commands know shards, also those that the settings no longer name.

use super::{api, audited, consumer, post, queues, started, stored_once};
use crate::process::program::{Site, report, run};
use crate::support::{TestDatabase, eventually};

#[tokio::test]
async fn trace_finds_a_message_in_any_shard() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let api = started(&mut api(&site, 3)).await;
    let client = reqwest::Client::new();
    let mut found = Vec::new();
    for number in 0..3 {
        let (status, id) = post(&client, &api, report(number)).await;
        assert_eq!(status, 200);
        // With fewer shards than the API has.
        let trace = run(&mut consumer(&site, 1, &["trace", &id])).await;
        let line = trace.output.lines().find(|line| line.starts_with("waiting: in the queue of "));
        found.extend(line.and_then(|line| line.split([' ', ';']).nth(5).map(str::to_owned)));
    }
    found.sort();
    assert_eq!(found, ["niu.0", "niu.1", "niu.2"]);
}

#[tokio::test]
async fn the_audit_has_a_line_for_every_queue_also_for_those_that_are_left_over() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill_queue("niu.0", &[report(0)]).await;
    site.fill_queue("niu.1", &[report(1), report(2)]).await;
    let audit = run(&mut consumer(&site, 1, &["audit"])).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
    assert_eq!(audited(&audit.output, "niu"), [0, 0, 0, 0, 0]);
    assert_eq!(audited(&audit.output, "niu.0"), [1, 1, 0, 0, 0]);
    assert_eq!(audited(&audit.output, "niu.1"), [2, 2, 0, 0, 0]);
    assert_eq!(audited(&audit.output, "niu in all"), [3, 3, 0, 0, 0]);
    for told in ["niu.0: the settings do not name this queue", "niu.1: the settings do not name this queue"] {
        assert!(audit.output.contains(told), "{told}: {}", audit.output);
    }
    // Somebody removes a message of a shard.
    let mut command = redis::cmd("LPOP");
    command.arg(format!("{}:{{niu.1}}:queue", site.prefix));
    let _popped: redis::Value = site.link().command(&command).await.unwrap();
    let audit = run(&mut consumer(&site, 1, &["audit"])).await;
    assert_eq!(audit.code, Some(1), "{audit:?}");
}

#[tokio::test]
async fn dead_letters_are_replayed_into_the_shards() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let _consumer = started(&mut consumer(&site, 2, &[])).await;
    let bad: Vec<_> = (0..45).map(|number| format!("not a report {number}")).collect();
    site.fill_queue("niu.0", &bad).await;
    let client = database.client().await;
    let letters = async |attempts: i32| -> i64 {
        let query = "SELECT count(*) FROM dead_letters WHERE attempts = $1";
        client.query_one(query, &[&attempts]).await.unwrap().get(0)
    };
    eventually("the dead letters", async || (letters(1).await == 45).then_some(())).await;
    let before = queues(&site, ["niu.0", "niu.1", "niu"]).await.map(|status| status.accepted.messages);
    assert_eq!(before, [45, 0, 0]);
    let replay = run(&mut consumer(&site, 2, &["dead-letters", "replay"])).await;
    assert!(replay.code == Some(0) && replay.output.contains("put 45 messages"), "{replay:?}");
    let after = queues(&site, ["niu.0", "niu.1", "niu"]).await.map(|status| status.accepted.messages);
    assert!(after[0] > 45 && after[1] > 0 && after[2] == 0 && after[0] + after[1] == 90, "{after:?}");
    eventually("the dead letters again", async || {
        let again: i64 = client.query_one("SELECT count(*) FROM dead_letters", &[]).await.unwrap().get(0);
        (again == 45).then_some(())
    })
    .await;
    stored_once(&site, &database, 2, 0).await;
}

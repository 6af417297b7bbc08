//! Queues that the settings do not name.

use rustix::process::Signal;

use super::{answered, api, consumer, queues, started, stored_once};
use crate::process::program::{Program, Site, report};
use crate::support::{TestDatabase, eventually};

const FOUND: &str = "a queue that the settings do not name has messages";
const LEFT: &str = "a queue that the settings do not name is empty: leaving it";

async fn is_unconfigured(consumer: &Program, queue: &str) {
    let configured = format!(r#"fleet_queue_configured{{queue="{queue}"}}"#);
    assert_eq!(consumer.metric(&configured).await, 0.0);
}

fn lines<'a>(log: &'a str, text: &str, queue: &str) -> Vec<&'a str> {
    let queue = format!("queue={queue}");
    log.lines().filter(|line| line.contains(text) && line.split(' ').any(|word| word == queue)).collect()
}

/// A consumer has looked at three shards, so the witnesses name them. The last one got messages after that.
#[tokio::test]
async fn a_shard_that_is_left_over_is_drained_and_reported() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let before = started(&mut consumer(&site, 3, &[])).await;
    let client = database.client().await;
    let name = format!("{}:{{niu.2}}", site.prefix);
    let witnesses = "SELECT count(*) FROM queue_witnesses WHERE queue = $1";
    eventually("the witness to know the shard", async || {
        let known: i64 = client.query_one(witnesses, &[&name]).await.unwrap().get(0);
        (known == 1).then_some(())
    })
    .await;
    before.signal(Signal::TERM);
    assert_eq!(before.ended().await.code, Some(0));
    let bodies: Vec<_> = (0..50).map(report).collect();
    site.fill_queue("niu.2", &bodies).await;

    let after = started(&mut consumer(&site, 1, &[])).await;
    stored_once(&site, &database, 1, 50).await;
    let log = after.logged(FOUND).await;
    assert_eq!(lines(&log, FOUND, "niu.2").len(), 1, "{log}");
    assert!(log.contains("shards=1"), "{log}");
    is_unconfigured(&after, "niu.2").await;
    let log = after.logged(LEFT).await;
    assert_eq!(lines(&log, LEFT, "niu.2").len(), 1, "{log}");
    // The queue is watched for new messages.
    let more: Vec<_> = (50..60).map(report).collect();
    site.fill_queue("niu.2", &more).await;
    stored_once(&site, &database, 1, 60).await;
    after.signal(Signal::TERM);
    assert_eq!(after.ended().await.code, Some(0));
}

/// No witness knows the shards. Their ledgers in Redis show them, one after the other.
#[tokio::test]
async fn an_api_with_more_shards_than_the_consumer_is_noticed_and_nothing_is_lost() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let consumer = started(&mut consumer(&site, 1, &[])).await;
    let api = started(&mut api(&site, 3)).await;
    assert_eq!(answered(&api, 0..30, 200).await, 30);
    stored_once(&site, &database, 1, 30).await;
    let accepted = queues(&site, ["niu.0", "niu.1", "niu.2"]).await.map(|status| status.accepted.messages);
    assert_eq!(accepted, [10, 10, 10]);
    for queue in ["niu.0", "niu.1", "niu.2"] {
        is_unconfigured(&consumer, queue).await;
        let accepted = format!(r#"fleet_queue_accepted_messages_total{{queue="{queue}"}}"#);
        eventually("the pushes to be seen", async || {
            (consumer.metric(&accepted).await == 10.0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_api_without_shards_beside_consumers_with_shards_is_noticed_and_nothing_is_lost() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let consumer = started(&mut consumer(&site, 2, &[])).await;
    let api = started(&mut api(&site, 1)).await;
    assert_eq!(answered(&api, 0..10, 200).await, 10);
    stored_once(&site, &database, 2, 10).await;
    is_unconfigured(&consumer, "niu").await;
    consumer.logged(FOUND).await;
}

//! A shard that accepts nothing does not take the provider's other shards down.

use std::time::Duration;

use fleet_queue::QueueKeys;

use super::{answered, api, consumer, post, queues, started, stored_once};
use crate::process::program::{Program, Site, report, run};
use crate::support::{TestDatabase, eventually};

async fn command(site: &Site, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    site.link().command(&command).await.unwrap()
}

/// Posts until the API has answered 503 to one webhook, at most so many. Returns how many it accepted.
async fn accepted_before_503(api: &Program, at_most: usize) -> usize {
    let client = reqwest::Client::new();
    for number in 0..at_most {
        if post(&client, api, report(number)).await.0 == 503 {
            return number;
        }
    }
    panic!("the API has accepted {at_most} webhooks");
}

#[tokio::test]
async fn a_shard_with_a_broken_key() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let broken = QueueKeys::new(&site.prefix, "niu.0").queue;
    command(&site, &["HSET", &broken, "x", "1"]).await;
    let mut api = started(&mut api(&site, 2)).await;
    let mut consumer_program = started(&mut consumer(&site, 2, &[])).await;
    let client = reqwest::Client::new();
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..200 {
        match post(&client, &api, report(number)).await.0 {
            200 => accepted += 1,
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    // The first webhook for that shard, and the few that find out whether it works again.
    assert!((1..=5).contains(&refused), "{refused} of 200");
    let log = api.logged("pushes to Redis fail").await;
    assert!(log.contains("queue=niu.0") && !log.contains("queue=niu.1"), "{log}");
    let audit = run(&mut consumer(&site, 2, &["audit"])).await;
    assert!(audit.code == Some(1) && audit.output.contains(&format!("niu.0: the key {broken}")), "{audit:?}");

    command(&site, &["DEL", &broken]).await;
    let before = site.queue_of("niu.0").await.accepted.messages;
    let mut number = 200;
    eventually("the shard to be used again", async || {
        let (status, _id) = post(&client, &api, report(number)).await;
        accepted += usize::from(status == 200);
        number += 1;
        (site.queue_of("niu.0").await.accepted.messages >= before + 5).then_some(())
    })
    .await;
    stored_once(&site, &database, 2, accepted).await;
    api.assert_running();
    consumer_program.assert_running();
}

/// A Redis that no longer replies for one shard cannot be had with one server, so the test pauses the writes of all, and looks
/// at one queue: the webhooks get 503 in time, and afterwards every shard is used again.
#[tokio::test]
async fn after_an_outage_every_shard_is_used_again() {
    let database = TestDatabase::migrated().await;
    let redis = tokio::task::spawn_blocking(|| {
        fleet_testbed::Redis::private_with(fleet_testbed::RedisOptions::default()).unwrap()
    });
    let mut redis = redis.await.unwrap();
    let site = Site { redis: redis.url(), ..Site::new(database.url()) };
    let mut command = api(&site, 3);
    command.env("FLEET_QUEUE__TIMEOUT", "500ms");
    let api = started(&mut command).await;
    assert_eq!(answered(&api, 0..3, 200).await, 3);
    redis = tokio::task::spawn_blocking(move || {
        redis.kill().unwrap();
        redis
    })
    .await
    .unwrap();
    assert_eq!(answered(&api, 3..12, 503).await, 9);
    let _redis = tokio::task::spawn_blocking(move || {
        redis.restart().unwrap();
        redis
    })
    .await
    .unwrap();
    let before = queues(&site, ["niu.0", "niu.1", "niu.2"]).await.map(|status| status.accepted.messages);
    let mut number = 12;
    eventually("every shard to be used again", async || {
        answered(&api, number..number + 3, 200).await;
        number += 3;
        let now = queues(&site, ["niu.0", "niu.1", "niu.2"]).await.map(|status| status.accepted.messages);
        tokio::time::sleep(Duration::from_millis(100)).await;
        now.iter().zip(before).all(|(now, before)| *now > before).then_some(())
    })
    .await;
    assert_eq!(answered(&api, number..number + 30, 200).await, 30);
}

#[tokio::test]
async fn the_cap_is_divided() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let cap = 40_000;
    let mut command = api(&site, 2);
    command.env("FLEET_PROVIDERS__NIU__MAX_BACKLOG_BYTES", cap.to_string());
    let api = started(&mut command).await;
    let accepted = accepted_before_503(&api, 1000).await;
    let both = queues(&site, ["niu.0", "niu.1"]).await;
    let message = both[0].accepted.bytes / both[0].accepted.messages;
    for shard in &both {
        let bytes = shard.accepted.bytes;
        assert!((cap / 2..cap / 2 + 2 * message).contains(&bytes), "{bytes} of {cap}, {message} a message");
    }
    let messages: u64 = both.iter().map(|shard| shard.accepted.messages).sum();
    assert_eq!(messages, u64::try_from(accepted).unwrap());
    for queue in ["niu.0", "niu.1"] {
        let shedding = format!(r#"fleet_api_shedding{{provider="niu",queue="{queue}"}}"#);
        eventually("the shard to shed", async || (api.metric(&shedding).await == 1.0).then_some(())).await;
    }
    let _consumer = started(&mut consumer(&site, 2, &[])).await;
    stored_once(&site, &database, 2, accepted).await;
    let client = reqwest::Client::new();
    eventually("webhooks to be accepted again", async || {
        (post(&client, &api, report(10_000)).await.0 == 200).then_some(())
    })
    .await;
}

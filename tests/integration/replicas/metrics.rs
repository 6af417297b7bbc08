//! What the programs export and log about replicas.

use fleet_testbed::{Redis, RedisLogin};

use super::{primary, replica_of};
use crate::process::program::{Program, Site, report};
use crate::support::{TOKEN, TestDatabase, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

fn site(primary: &Redis, database: &str) -> Site {
    Site { redis: primary.url(), ..Site::new(database) }
}

fn api(site: &Site) -> Program {
    Program::start(site.api(&[]).env("FLEET_QUEUE__REPLICAS", "1").env("FLEET_QUEUE__TIMEOUT", "600ms"))
}

async fn post(api: &Program) -> u16 {
    let posted = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(1));
    posted.send().await.unwrap().status().as_u16()
}

async fn becomes(api: &Program, series: &str, value: f64) {
    eventually(&format!("{series} to be {value}"), async || {
        (api.metric(series).await - value).abs().lt(&0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_api_whose_replica_is_missing_says_so_and_heals() {
    let primary = primary().await;
    let mut api = api(&site(&primary, NO_DATABASE));
    api.readiness(200).await;
    becomes(&api, "fleet_api_redis_replicas_missing", 1.0).await;
    let log = api.logged("no push can be confirmed").await;
    assert!(
        log.contains("of 1 replicas that must confirm (FLEET_QUEUE__REPLICAS), 0 received a write"),
        "{log}"
    );
    assert_eq!(post(&api).await, 503);
    becomes(&api, "fleet_api_awaiting_replicas{provider=\"niu\",queue=\"niu\"}", 1.0).await;
    let _replica = replica_of(&primary).await;
    // Without another webhook.
    becomes(&api, "fleet_api_awaiting_replicas{provider=\"niu\",queue=\"niu\"}", 0.0).await;
    becomes(&api, "fleet_api_redis_replicas_missing", 0.0).await;
    api.logged("replicas of Redis confirm writes").await;
    assert_eq!(post(&api).await, 200);
}

#[tokio::test]
async fn an_unconfirmed_push_is_counted_and_logged() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let mut api = api(&site(&primary, NO_DATABASE));
    api.readiness(200).await;
    eventually("webhooks to be accepted", async || (post(&api).await == 200).then_some(())).await;
    let before = api.metric("fleet_api_unconfirmed_pushes_total{provider=\"niu\",queue=\"niu\"}").await;
    replica.pause().unwrap();
    assert_eq!(post(&api).await, 503);
    becomes(&api, "fleet_api_unconfirmed_pushes_total{provider=\"niu\",queue=\"niu\"}", before + 1.0).await;
    becomes(&api, "fleet_api_awaiting_replicas{provider=\"niu\",queue=\"niu\"}", 1.0).await;
    eventually("the age to grow", async || {
        (api.metric("fleet_api_awaiting_replicas_seconds{provider=\"niu\",queue=\"niu\"}").await > 0.5)
            .then_some(())
    })
    .await;
    // On a slow machine, asking may time out first. An outage is logged once.
    eventually("the log to say why", async || {
        let log = api.log();
        let why =
            ["too few replicas have confirmed a push", "the confirmation of a push cannot be asked for"];
        why.iter().any(|why| log.contains(why)).then_some(())
    })
    .await;
    replica.resume().unwrap();
    becomes(&api, "fleet_api_awaiting_replicas_seconds{provider=\"niu\",queue=\"niu\"}", 0.0).await;
    becomes(&api, "fleet_api_awaiting_replicas{provider=\"niu\",queue=\"niu\"}", 0.0).await;
    api.logged("replicas confirm pushes again").await;
}

#[tokio::test]
async fn the_consumer_exports_the_replicas_and_their_lag() {
    let primary = primary().await;
    let _replica = replica_of(&primary).await;
    let database = TestDatabase::migrated().await;
    let site = site(&primary, database.url());
    let consumer = Program::start(site.consumer(&[]).env("FLEET_QUEUE__REPLICAS", "1"));
    becomes(&consumer, "fleet_queue_redis_replicas", 1.0).await;
    assert!(consumer.metric("fleet_queue_redis_replica_lag_bytes").await < 1_000_000.0);
    assert_ne!(RedisLogin::Consumer.of(&site.redis), site.redis, "it has the shipped user");
}

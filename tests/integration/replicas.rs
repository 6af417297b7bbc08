//! `FLEET_QUEUE__REPLICAS`: a 200 means that the primary and so many replicas of Redis have the message on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod checks;
mod claims;
mod confirmed;
mod metrics;
mod outages;
mod shutdown;
mod unfit;

use std::collections::BTreeSet;

use fleet_testbed::{Redis, RedisOptions, RedisServer};
use redis::FromRedisValue;
use uuid::Uuid;

use crate::answers::client::{Answer, post_niu};
use crate::support::{Fleet, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

/// A full synchronization begins at once instead of after five seconds.
const NO_DELAY: [&str; 2] = ["--repl-diskless-sync-delay", "0"];

async fn start(server: RedisServer, extra: Vec<String>) -> Redis {
    let options = RedisOptions { server, extra, ..RedisOptions::default() };
    tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap()
}

async fn primary_with(server: RedisServer, extra: &[&str]) -> Redis {
    start(server, NO_DELAY.iter().chain(extra).map(|&argument| argument.to_owned()).collect()).await
}

async fn primary() -> Redis {
    primary_with(RedisServer::Redis, &[]).await
}

/// A replica, once it is connected.
async fn replica_with(server: RedisServer, primary: &Redis, extra: &[&str]) -> Redis {
    let source = format!("127.0.0.1 {}", primary.port());
    let own = ["--replicaof", &source, "--masteruser", "fleet", "--masterauth", "fleet"];
    let arguments = own.iter().chain(extra).map(|&argument| argument.to_owned()).collect();
    let replica = start(server, arguments).await;
    eventually("the replica to be connected", async || {
        let info: String = ask(&replica, &["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    replica
}

async fn replica_of(primary: &Redis) -> Redis {
    replica_with(RedisServer::Redis, primary, &[]).await
}

/// Sends a command with the administrator's login.
async fn ask<T: FromRedisValue>(server: &Redis, words: &[&str]) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).query_async(&mut connection).await.unwrap()
}

/// As [`api_on`], once a webhook was accepted: a replica that has just synchronized rewrites its append-only file first.
async fn accepting_api_on(primary: &Redis, replicas: &str, timeout: &str) -> (Fleet, Vec<Uuid>) {
    let fleet = api_on(primary, replicas, timeout).await;
    let first = accepted_again(&fleet).await;
    let queued = queued(&fleet, primary).await;
    assert_eq!(queued.last(), Some(&first));
    (fleet, queued)
}

/// The API on `primary`. Each push waits for so many replicas.
async fn api_on(primary: &Redis, replicas: &str, timeout: &str) -> Fleet {
    let variables = [
        ("FLEET_REDIS_URL", primary.url()),
        ("FLEET_QUEUE__REPLICAS", replicas.to_owned()),
        ("FLEET_QUEUE__TIMEOUT", timeout.to_owned()),
    ];
    Fleet::api_only(&variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}

/// The ids of the messages in NIU's queue, in their order.
async fn queued(fleet: &Fleet, server: &Redis) -> Vec<Uuid> {
    let key = format!("{}:{{niu}}:queue", fleet.settings.queue.prefix);
    let items: Vec<Vec<u8>> = ask(server, &["LRANGE", &key, "0", "-1"]).await;
    let id = |item: &Vec<u8>| fleet_queue::Envelope::decode(item).unwrap().message_id;
    items.iter().map(id).collect()
}

async fn post(fleet: &Fleet) -> Answer {
    post_niu(&fleet.api, BODY).await
}

async fn accepted(fleet: &Fleet) -> Uuid {
    let answer = post(fleet).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.message_id()
}

/// Posts until a webhook is accepted. Returns the id of its message.
async fn accepted_again(fleet: &Fleet) -> Uuid {
    eventually("webhooks to be accepted again", async || {
        let answer = post(fleet).await;
        (answer.status == 200).then(|| answer.message_id())
    })
    .await
}

fn set(ids: &[Uuid]) -> BTreeSet<Uuid> {
    ids.iter().copied().collect()
}

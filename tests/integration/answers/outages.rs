//! Redis full, stopped or gone: the API responds 503, and 200 again as soon as Redis is back.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Observer, RedisLink, RedisLinkOptions};
use fleet_testbed::Redis;

use super::client::{Connection, NIU_TOKEN, assert_refused, head, post_niu};
use crate::support::{Fleet, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

async fn private_redis() -> Redis {
    tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap()
}

async fn api_on(redis: &Redis, timeout: &str) -> Fleet {
    let fleet =
        Fleet::api_only(&[("FLEET_REDIS_URL", &redis.url()), ("FLEET_QUEUE__TIMEOUT", timeout)]).await;
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    fleet
}

/// A request whose body the server has begun to read. The server waits for the rest.
async fn begun(fleet: &Fleet) -> Connection {
    let mut connection = Connection::open(&fleet.api).await;
    let headers = [NIU_TOKEN, ("content-length", "11"), ("expect", "100-continue")];
    connection.send(head("/webhooks/niu", &headers)).await;
    connection.continued().await;
    connection
}

async fn admin(redis: &Redis, command: &[&str]) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = command.split_first().unwrap();
    let mut command = redis::cmd(name);
    let done: String = command.arg(arguments).query_async(&mut connection).await.unwrap();
    assert_eq!(done, "OK");
}

/// How many pushes Redis has executed.
async fn pushes(redis: &Redis) -> u64 {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd("INFO");
    let text: String = command.arg("commandstats").query_async(&mut connection).await.unwrap();
    let (_before, after) = text.split_once("cmdstat_rpush:calls=").unwrap();
    after.split(',').next().unwrap().parse().unwrap()
}

async fn accepted_messages(fleet: &Fleet, redis: &Redis) -> u64 {
    let link =
        Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis.url(), Duration::from_secs(5))).unwrap());
    let observer = Observer::new(link, &fleet.settings.queue.prefix, "niu");
    let status = observer.status().await.unwrap();
    assert!(status.balances(), "{status:?}");
    status.accepted.messages
}

async fn assert_refusing(fleet: &Fleet) {
    let answer = post_niu(&fleet.api, BODY).await;
    assert_refused(&answer, 503, "queue_unavailable");
    assert_eq!(answer.header("retry-after"), Some("2"));
}

async fn assert_recovers(fleet: &Fleet) {
    eventually("webhooks to be taken again", async || {
        (post_niu(&fleet.api, BODY).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn at_maxmemory() {
    let redis = private_redis().await;
    let fleet = api_on(&redis, "3s").await;
    admin(&redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_refusing(&fleet).await;
    assert_refusing(&fleet).await;
    assert_eq!(accepted_messages(&fleet, &redis).await, 1, "a push is atomic");
    admin(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    assert_eq!(accepted_messages(&fleet, &redis).await, 2);
}

#[tokio::test]
async fn read_only() {
    let redis = private_redis().await;
    let fleet = api_on(&redis, "3s").await;
    admin(&redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_refusing(&fleet).await;
    admin(&redis, &["REPLICAOF", "NO", "ONE"]).await;
    assert_recovers(&fleet).await;
}

#[tokio::test]
async fn gone_and_back() {
    let mut redis = private_redis().await;
    let fleet = api_on(&redis, "3s").await;
    redis.kill().unwrap();
    assert_refusing(&fleet).await;
    assert_refusing(&fleet).await;
    let redis = tokio::task::spawn_blocking(move || {
        redis.restart().unwrap();
        redis
    })
    .await
    .unwrap();
    assert_eq!(accepted_messages(&fleet, &redis).await, 1, "the message with a 200 response is there");
    assert_recovers(&fleet).await;
}

#[tokio::test]
async fn not_there_at_the_start() {
    let mut redis = private_redis().await;
    redis.kill().unwrap();
    let fleet = Fleet::api_only(&[("FLEET_REDIS_URL", &redis.url())]).await;
    assert_refusing(&fleet).await;
    let _redis = tokio::task::spawn_blocking(move || {
        redis.restart().unwrap();
        redis
    })
    .await
    .unwrap();
    assert_recovers(&fleet).await;
}

#[tokio::test]
async fn stopped() {
    let mut redis = private_redis().await;
    let fleet = api_on(&redis, "300ms").await;
    redis.pause().unwrap();
    assert_refusing(&fleet).await;
    assert_refusing(&fleet).await;
    redis.resume().unwrap();
    assert_recovers(&fleet).await;
}

#[tokio::test]
async fn no_success_before_redis_has_replied() {
    let mut redis = private_redis().await;
    let fleet = api_on(&redis, "20s").await;
    redis.pause().unwrap();
    let mut connection = begun(&fleet).await;
    connection.send(BODY).await;
    {
        let answer = connection.answer();
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(500), answer.as_mut()).await;
        assert!(early.is_err(), "a response without Redis: {early:?}");
        redis.resume().unwrap();
        assert_eq!(answer.await.status, 200);
    }
    assert_eq!(accepted_messages(&fleet, &redis).await, 2);
}

#[tokio::test]
async fn requests_that_wait_for_redis_are_answered_at_shutdown() {
    let mut redis = private_redis().await;
    let fleet = api_on(&redis, "20s").await;
    redis.pause().unwrap();
    let mut connection = begun(&fleet).await;
    connection.send(BODY).await;
    let api = fleet.api.clone();
    let resuming = async {
        eventually("the listener to close", async || {
            let address = api.strip_prefix("http://").unwrap();
            tokio::net::TcpStream::connect(address).await.err()
        })
        .await;
        redis.resume().unwrap();
        assert_eq!(connection.answer().await.status, 200);
    };
    tokio::join!(fleet.stop(), resuming);
}

#[tokio::test]
async fn requests_that_arrive_during_a_push_share_the_next() {
    let mut redis = private_redis().await;
    let fleet = api_on(&redis, "20s").await;
    let before = pushes(&redis).await;
    redis.pause().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut connection = begun(&fleet).await;
        connection.send(BODY).await;
        waiting.push(connection);
    }
    redis.resume().unwrap();
    for mut connection in waiting {
        assert_eq!(connection.answer().await.status, 200);
    }
    assert_eq!(accepted_messages(&fleet, &redis).await, 51);
    let pushes = pushes(&redis).await - before;
    assert!(pushes <= 10, "{pushes} pushes for 50 requests");
}

#[tokio::test]
async fn more_than_may_wait_for_a_push_are_refused_at_once() {
    let mut redis = private_redis().await;
    let fleet = Fleet::api_only(&[
        ("FLEET_REDIS_URL", &redis.url()),
        ("FLEET_QUEUE__TIMEOUT", "20s"),
        ("FLEET_API__COMMIT_QUEUE", "1"),
        ("FLEET_API__COMMIT_MAX_MESSAGES", "1"),
    ])
    .await;
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    redis.pause().unwrap();
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let api = fleet.api.clone();
        posts.spawn(async move { post_niu(&api, BODY).await });
    }
    let first = posts.join_next().await.unwrap().unwrap();
    assert_refused(&first, 503, "busy");
    redis.resume().unwrap();
    let others = posts.join_all().await;
    let taken = others.iter().filter(|answer| answer.status == 200).count();
    assert!(taken > 0, "{others:?}");
    assert_eq!(accepted_messages(&fleet, &redis).await, u64::try_from(taken).unwrap() + 1);
}

//! With this repository's users, a server that was killed has all its data after the restart.
//!
//! When Redis and Valkey load the append-only file, they check each transaction against the rights of the default user,
//! and drop the transaction if a right is missing.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Observer, Producer, RedisLink, RedisLinkOptions};
use fleet_testbed::{Redis, RedisOptions, RedisServer};
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use super::{connect, login, send, text};

/// The users' files that docker-compose.yml and the development overlay mount.
const SHIPPED: [&str; 2] = ["compose/users.acl", "deploy/k8s/components/dev-services/users.acl"];

/// Longer than the test runs.
const LEASE: Duration = Duration::from_secs(600);

const LIMITS: ClaimLimits = ClaimLimits { max_messages: 2, max_bytes: 1 << 20, lease: LEASE };

async fn start(server: RedisServer, acl: String) -> Redis {
    let options = RedisOptions { server, acl: Some(acl), ..RedisOptions::default() };
    tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap()
}

async fn killed_and_restarted(mut redis: Redis) -> Redis {
    let restarted = tokio::task::spawn_blocking(move || redis.restart().map(|()| redis));
    restarted.await.unwrap().unwrap()
}

fn link(redis: &Redis, user: &str) -> Arc<RedisLink> {
    Arc::new(
        RedisLink::open(&RedisLinkOptions::new(&login(&redis.url(), user), Duration::from_secs(5))).unwrap(),
    )
}

/// Every key of the queue with its content, so that a failure shows both.
async fn content(redis: &Redis) -> Vec<String> {
    let mut admin = connect(&redis.url()).await;
    let keys = send(&mut admin, &["KEYS", "fleet:*"]).await.unwrap();
    let mut keys: Vec<String> = redis::from_redis_value(keys).unwrap();
    keys.sort();
    let mut content = Vec::new();
    for key in keys {
        let value = send(&mut admin, &["DUMP", &key]).await.unwrap();
        content.push(format!("{key} {} {value:?}", length(&mut admin, &key).await));
    }
    content
}

async fn length(admin: &mut MultiplexedConnection, key: &str) -> i64 {
    let kind: String = redis::from_redis_value(send(admin, &["TYPE", key]).await.unwrap()).unwrap();
    let command = match kind.as_str() {
        "list" => "LLEN",
        "hash" => "HLEN",
        "zset" => "ZCARD",
        other => panic!("{key} is a {other}"),
    };
    redis::from_redis_value(send(admin, &[command, key]).await.unwrap()).unwrap()
}

/// Pushes nine messages with the API's login. Settles two and leases two with the consumer's.
async fn work(redis: &Redis) {
    let producer = Producer::new(link(redis, "api"), "fleet", "niu");
    for batch in 0..3 {
        let items: Vec<_> = (0..3).map(|item| format!("message {batch} {item}").into_bytes()).collect();
        producer.push(&items).await.unwrap();
    }
    let consumer = Consumer::new(link(redis, "consumer"), "fleet", "niu");
    let claim = async || {
        let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
        consumer.claim(id, token, LIMITS).await.unwrap().unwrap()
    };
    let settled = claim().await;
    assert_eq!(consumer.ack(&settled).await.unwrap(), 2);
    let leased = claim().await;
    assert!(consumer.extend(&leased, LEASE).await.unwrap());
}

async fn keeps_everything(server: RedisServer, acl: &str) {
    let redis = start(server, text(acl)).await;
    work(&redis).await;
    let before = content(&redis).await;
    let redis = killed_and_restarted(redis).await;
    assert_eq!(content(&redis).await, before, "{server:?} with {acl}");

    let status = Observer::new(link(&redis, "consumer"), "fleet", "niu").status().await.unwrap();
    assert!(status.balances(), "{status:?}");
    assert_eq!((status.waiting_messages, status.leases), (5, 1), "{status:?}");
    assert_eq!([status.accepted, status.claimed, status.settled].map(|part| part.messages), [9, 4, 2]);
    // The file that is written after the restart is complete as well.
    work(&redis).await;
    let before = content(&redis).await;
    let redis = killed_and_restarted(redis).await;
    assert_eq!(content(&redis).await, before, "{server:?} with {acl}, the second time");
}

#[tokio::test]
async fn redis_keeps_everything() {
    for acl in SHIPPED {
        keeps_everything(RedisServer::Redis, acl).await;
    }
}

#[tokio::test]
async fn valkey_keeps_everything() {
    for acl in SHIPPED {
        keeps_everything(RedisServer::Valkey, acl).await;
    }
}

#[tokio::test]
async fn redis_7_keeps_everything() {
    for acl in SHIPPED {
        keeps_everything(RedisServer::Redis7, acl).await;
    }
}

/// This is why the default user needs its rights. The test fails if a later server loads such a file completely.
#[tokio::test]
async fn a_default_user_without_rights_costs_the_queue() {
    for server in RedisServer::ALL {
        let acl = text(SHIPPED[0]).replace(" resetpass ~* &* +@all\n", "\n");
        let acl =
            acl.split_once('\n').map(|(_default, others)| format!("user default off\n{others}")).unwrap();
        let redis = start(server, acl).await;
        work(&redis).await;
        assert!(!content(&redis).await.is_empty());
        let redis = killed_and_restarted(redis).await;
        let status = Observer::new(link(&redis, "consumer"), "fleet", "niu").status().await.unwrap();
        assert_eq!((status.waiting_messages, status.accepted.messages), (0, 0), "{server:?}: {status:?}");
    }
}

/// The check in docs/security.md, for each login that has the right to run it.
#[tokio::test]
async fn a_login_may_ask_what_the_default_user_may() {
    for server in RedisServer::ALL {
        for (rights, expected) in [(" resetpass ~* &* +@all", true), ("", false)] {
            let acl = text(SHIPPED[0]).replacen(" resetpass ~* &* +@all", rights, 1);
            let redis = start(server, acl).await;
            for user in ["api", "consumer", "operator"] {
                let mut connection = connect(&login(&redis.url(), user)).await;
                let command = ["ACL", "DRYRUN", "default", "RPUSH", "fleet:{niu}:queue", "x"];
                let said = send(&mut connection, &command).await.unwrap();
                let said: String = redis::from_redis_value(said).unwrap();
                assert_eq!(said == "OK", expected, "{server:?} {user}: {said}");
            }
        }
    }
}

/// The default user's rights give nobody access, because nobody can log in as the default user.
#[tokio::test]
async fn nobody_is_the_default_user() {
    for server in RedisServer::ALL {
        let redis = start(server, text(SHIPPED[0])).await;
        for login in
            [&["AUTH", ""][..], &["AUTH", "x"], &["AUTH", "default", ""], &["AUTH", "default", "fleet"]]
        {
            let mut nobody = connect(&redis.url().replace("fleet:fleet@", "")).await;
            let error = send(&mut nobody, login).await.expect_err("a login");
            assert!(matches!(error.code(), Some("WRONGPASS" | "ERR")), "{login:?}: {error}");
            let error = send(&mut nobody, &["PING"]).await.expect_err("a login");
            assert_eq!(error.code(), Some("NOAUTH"), "{login:?}: {error}");
        }
    }
}

//! What the programs see of the replicas' settings, and of what keeps pushes from being confirmed.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{
    Durability, Obstacle, Producer, QueueError, QueueKeys, RedisLink, RedisLinkOptions, Replication,
};
use fleet_testbed::{Redis, RedisLogin, RedisServer};

use super::{ask, primary, primary_with, replica_of, replica_with};
use crate::support::{eventually, fresh_prefix};

const TIMEOUT: Duration = Duration::from_secs(3);

fn link(server: &Redis, login: RedisLogin) -> Arc<RedisLink> {
    Arc::new(RedisLink::open(&RedisLinkOptions::new(&login.of(&server.url()), TIMEOUT)).unwrap())
}

fn producer(primary: &Redis, replicas: u32) -> Producer {
    Producer::new(link(primary, RedisLogin::Api), &fresh_prefix(), "niu").confirmed_by(replicas)
}

async fn durability(primary: &Redis, login: RedisLogin) -> Durability {
    Durability::read(&link(primary, login), &QueueKeys::new("fleet", "niu"), 1).await.unwrap()
}

#[tokio::test]
async fn a_replica_with_weaker_settings_is_named() {
    let primary = primary().await;
    let good = replica_of(&primary).await;
    assert_eq!(durability(&primary, RedisLogin::Admin).await.weaknesses(), Vec::<String>::new());
    let weak = replica_with(RedisServer::Redis, &primary, &["--appendfsync", "everysec"]).await;
    let found = durability(&primary, RedisLogin::Admin).await;
    let weaknesses = found.weaknesses();
    assert_eq!((weaknesses.len(), found.unseen().len()), (1, 0), "{found:?}");
    let expected = format!("appendfsync of the replica 127.0.0.1:{} is everysec", weak.port());
    assert!(weaknesses[0].contains(&expected), "{weaknesses:?}");
    drop(good);
}

#[tokio::test]
async fn what_cannot_be_seen_of_replicas_is_said() {
    let primary = primary().await;
    let _replica = replica_with(RedisServer::Redis, &primary, &["--replica-announce-port", "1"]).await;
    let unreachable = durability(&primary, RedisLogin::Admin).await;
    assert!(unreachable.unseen()[0].ends_with("on the replica 127.0.0.1:1"), "{unreachable:?}");
    for login in [RedisLogin::Api, RedisLogin::Consumer] {
        let blind = durability(&primary, login).await;
        assert!(blind.unseen().last().unwrap().ends_with("on every replica"), "{blind:?}");
    }
}

#[tokio::test]
async fn both_programs_see_the_replicas_and_their_lag() {
    for server in [RedisServer::Redis, RedisServer::Valkey] {
        let primary = primary_with(server, &[]).await;
        let mut replica = replica_with(server, &primary, &[]).await;
        for login in [RedisLogin::Api, RedisLogin::Consumer] {
            let found = Replication::read(&link(&primary, login)).await.unwrap().unwrap();
            assert_eq!((found.replicas.len(), found.replicas[0].port), (1, replica.port()), "{found:?}");
        }
        replica.pause().unwrap();
        let () = ask(&primary, &["SET", "large", &"x".repeat(100_000)]).await;
        let behind = Replication::read(&link(&primary, RedisLogin::Consumer)).await.unwrap().unwrap();
        assert!(behind.lag_bytes() > 100_000, "{behind:?}");
        let of_replica = Replication::read(&link(&primary, RedisLogin::Admin)).await;
        assert!(of_replica.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_keeps_pushes_from_being_confirmed_is_named() {
    let primary = primary().await;
    let producer = producer(&primary, 1);
    let obstacle = async || producer.obstacle().await.unwrap();
    let missing = obstacle().await.unwrap();
    assert!(matches!(missing, Obstacle::TooFewReplicas(_)), "{missing:?}");
    assert_eq!(missing.missing_replicas(1), 1);
    let _replica = replica_of(&primary).await;
    eventually("the replica to confirm writes", async || obstacle().await.is_none().then_some(())).await;
    let () = ask(&primary, &["ACL", "SETUSER", "api", "-waitaof"]).await;
    assert_eq!(obstacle().await, Some(Obstacle::MissingPermission));
    let () = ask(&primary, &["ACL", "SETUSER", "api", "+waitaof"]).await;
    let () = ask(&primary, &["CONFIG", "SET", "appendonly", "no"]).await;
    assert_eq!(obstacle().await, Some(Obstacle::NoAppendOnlyFile));
}

#[tokio::test]
async fn a_server_without_waitaof_is_told_from_one_without_an_append_only_file() {
    let primary = primary_with(RedisServer::Redis, &["--rename-command", "WAITAOF", ""]).await;
    let () = ask(&primary, &["ACL", "SETUSER", "api", "+@all"]).await;
    assert_eq!(producer(&primary, 1).obstacle().await.unwrap(), Some(Obstacle::TooOld));
}

#[tokio::test]
async fn a_push_that_must_be_confirmed_fails_if_it_is_not() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let producer = producer(&primary, 1);
    let items = [b"one".to_vec()];
    eventually("the replica to confirm", async || producer.push_confirmed(&items).await.ok()).await;
    replica.pause().unwrap();
    let failed = producer.push_confirmed(&items).await;
    assert!(matches!(failed, Err(QueueError::Unconfirmed(_))), "{failed:?}");
    replica.resume().unwrap();
    eventually("the replica to confirm", async || producer.push_confirmed(&items).await.ok()).await;
}

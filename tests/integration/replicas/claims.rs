//! Claims and looks that replicas must confirm.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Lookout, Producer, QueueError, RedisLink, RedisLinkOptions};
use fleet_testbed::{Redis, RedisServer};
use uuid::Uuid;

use super::{ask, primary, primary_with, replica_of};
use crate::support::eventually;

const LIMITS: ClaimLimits =
    ClaimLimits { max_messages: 10, max_bytes: 1 << 20, lease: Duration::from_secs(60) };

fn link(redis: &Redis) -> Arc<RedisLink> {
    Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis.url(), Duration::from_secs(1))).unwrap())
}

fn consumer(redis: &Redis) -> Consumer {
    Consumer::new(link(redis), "test-claims", "niu").confirmed_by(1)
}

async fn push(redis: &Redis) {
    Producer::new(link(redis), "test-claims", "niu").push(&[b"message".to_vec()]).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_not_worked_on_before_a_replica_knows_who_has_it() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let consumer = consumer(&primary);
    push(&primary).await;
    replica.pause().unwrap();
    let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
    let early = consumer.claim(id, token, LIMITS).await;
    assert!(matches!(early, Err(QueueError::Unconfirmed(_))), "{early:?}");
    let early = consumer.claim_again(id, token, LIMITS).await;
    assert!(matches!(early, Err(QueueError::Unconfirmed(_))), "{early:?}");
    replica.resume().unwrap();
    let lease = eventually("the claim to be confirmed", async || {
        consumer.claim_again(id, token, LIMITS).await.ok().flatten()
    })
    .await;
    assert_eq!(lease.items, ["message"]);
    // The promoted replica knows the batch.
    replica.follow(None).unwrap();
    assert_eq!(self::consumer(&replica).ack(&lease).await.unwrap(), 1);
}

#[tokio::test]
async fn a_full_redis_with_a_replica_drains() {
    let primary = primary_with(RedisServer::Redis, &["--maxmemory", "8mb"]).await;
    let _replica = replica_of(&primary).await;
    let producer = Producer::new(link(&primary), "test-claims", "niu");
    let items = vec![vec![b'x'; 1000]; 100];
    let full = loop {
        if let Err(error) = producer.push(&items).await {
            break error;
        }
    };
    assert_eq!(full.kind(), "oom", "{full}");
    ask::<()>(&primary, &["CONFIG", "SET", "maxmemory", "4mb"]).await;
    let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
    let claimed = consumer(&primary).claim(id, token, LIMITS).await;
    // Unless it has synchronized a moment ago, the replica confirms at once. Each new consumer has a new connection.
    let lease = match claimed {
        Ok(lease) => lease.unwrap(),
        Err(_) => {
            eventually("the claim to be confirmed", async || {
                consumer(&primary).claim_again(id, token, LIMITS).await.ok().flatten()
            })
            .await
        }
    };
    let again = consumer(&primary).claim_again(id, token, LIMITS).await.unwrap().unwrap();
    assert_eq!((again.id, again.items.len()), (lease.id, 10));
    let full = producer.push(&items).await.unwrap_err();
    assert_eq!(full.kind(), "oom", "{full}");
    assert_eq!(consumer(&primary).ack(&again).await.unwrap(), 10);
}

#[tokio::test]
async fn the_witness_does_not_know_what_no_replica_has() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let lookout = Lookout::new(link(&primary), "test-claims", "niu").confirmed_by(1);
    push(&primary).await;
    // A replica that has just copied the data rewrites its append-only file first, and confirms nothing meanwhile.
    let seen = eventually("a look to be confirmed", async || {
        let look = lookout.look().await.unwrap();
        lookout.note(&look, 1).await.unwrap()
    })
    .await;
    assert_eq!(seen.counted.accepted, 1);
    lookout.require_primary().await.unwrap();
    replica.pause().unwrap();
    push(&primary).await;
    let look = lookout.look().await.unwrap();
    assert_eq!(look.counted.accepted, 2);
    assert_eq!(lookout.note(&look, 2).await.unwrap(), None);
    let old = lookout.require_primary().await;
    assert!(matches!(old, Err(QueueError::Unconfirmed(_))), "{old:?}");
    replica.resume().unwrap();
}

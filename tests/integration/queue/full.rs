//! A Redis at `maxmemory` refuses new messages and allows everything else.

use std::time::Duration;

use fleet_queue::{Mark, QueueError};
use fleet_testbed::RedisServer;

use super::{EVERYTHING, LONG, Rig, TIMEOUT, limits, private_redis};
use crate::support::eventually;

/// Pushes until Redis refuses. Then lowers the limit, so that Redis stays full if a little memory is freed.
async fn fill(rig: &Rig) -> u64 {
    let items = vec![vec![b'x'; 1000]; 100];
    let mut pushed = 0;
    let error = loop {
        assert!(pushed < 50_000, "it never gets full");
        match rig.producer.push(&items).await {
            Ok(_) => pushed += 100,
            Err(error) => break error,
        }
    };
    assert_full(&error);
    rig.redis::<()>(&["CONFIG", "SET", "maxmemory", "4mb"]).await;
    pushed
}

/// Redis 7.0 refuses to queue the commands of a transaction while it is full, also those that only read.
async fn let_transactions_read(rig: &Rig) {
    match RedisServer::from_environment() {
        RedisServer::Redis | RedisServer::Valkey => {}
        RedisServer::Redis7 => {
            assert_eq!(rig.observer.status().await.unwrap_err().kind(), "oom");
            rig.redis::<()>(&["CONFIG", "SET", "maxmemory", "1gb"]).await;
        }
    }
}

fn assert_full(error: &QueueError) {
    assert!(matches!(error, QueueError::Refused { .. }), "{error:?}");
    assert_eq!(error.kind(), "oom", "{error}");
}

#[tokio::test]
async fn a_refused_push_leaves_nothing_behind() {
    let server = private_redis(&["--maxmemory", "8mb"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let pushed = fill(&rig).await;
    assert_full(&rig.producer.push(&[b"one more".to_vec()]).await.unwrap_err());
    let_transactions_read(&rig).await;
    assert_eq!(rig.ledger().await, [(pushed, pushed * 1000), (0, 0), (0, 0)]);
}

#[tokio::test]
async fn every_consumer_operation_works_on_a_full_redis() {
    let server = private_redis(&["--maxmemory", "8mb"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let pushed = fill(&rig).await;
    // As after a restart: Redis must be able to load the scripts, too.
    rig.redis::<()>(&["SCRIPT", "FLUSH", "SYNC"]).await;
    let lease = rig.claim(limits(100, usize::MAX >> 12)).await.unwrap();
    assert_eq!(lease.items.len(), 100);
    assert!(rig.consumer.extend(&lease, Duration::ZERO).await.unwrap());
    let lease = rig.take_over_expired().await.unwrap();
    assert!(rig.consumer.mark(&lease, Mark::Parsing).await.unwrap());
    assert!(rig.consumer.extend(&lease, LONG).await.unwrap());
    rig.consumer.release(&lease).await.unwrap();
    let lease = rig.take_over_expired().await.unwrap();
    assert_full(&rig.producer.push(&[b"still full".to_vec()]).await.unwrap_err());
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 100);
    let_transactions_read(&rig).await;
    assert_eq!(rig.ledger().await, [(pushed, pushed * 1000), (100, 100_000), (100, 100_000)]);
}

#[tokio::test]
async fn a_full_redis_drains_and_takes_messages_again() {
    let server = private_redis(&["--maxmemory", "8mb"]).await;
    let rig = Rig::on(&server.url(), TIMEOUT);
    let pushed = fill(&rig).await;
    let mut settled = 0;
    while let Some(lease) = rig.claim(limits(1000, 4 << 20)).await {
        settled += rig.consumer.ack(&lease).await.unwrap();
    }
    assert_eq!(settled, pushed);
    assert_eq!(rig.ledger().await, [(pushed, pushed * 1000); 3]);
    assert_eq!(rig.keys_left().await, Vec::<String>::new());
    // Redis frees memory in the background.
    eventually("room for messages", async || rig.producer.push(&[b"welcome".to_vec()]).await.ok()).await;
    assert_eq!(rig.claim(EVERYTHING).await.unwrap().items, [&b"welcome"[..]]);
}

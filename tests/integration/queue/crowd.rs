//! Many producers and consumers at the same time, with leases that expire while their owners work.

use std::time::Instant;

use fleet_queue::{ClaimLimits, Lease};
use uuid::Uuid;

use super::{Rig, SHORT, texts};
use crate::support::DEADLINE;

const PRODUCERS: usize = 8;
const CONSUMERS: usize = 4;
const PUSHES: usize = 30;
const MESSAGES: usize = 20;
const TOTAL: usize = PRODUCERS * PUSHES * MESSAGES;

async fn produce(rig: &Rig, producer: usize) {
    for push in 0..PUSHES {
        let item = |message| format!("{producer}/{push}/{message}").into_bytes();
        let items: Vec<_> = (0..MESSAGES).map(item).collect();
        rig.producer.push(&items).await.unwrap();
    }
}

/// Acknowledges the batch and records the messages that this settled.
async fn settle(rig: &Rig, lease: &Lease, settled: &mut Vec<String>) {
    let count = rig.consumer.ack(lease).await.unwrap();
    if count > 0 {
        assert_eq!(usize::try_from(count).unwrap(), lease.items.len(), "a batch is settled whole");
        settled.extend(texts(lease));
    }
}

/// Takes batches until everything is settled. It keeps every third batch until it has others, so that some leases
/// expire and have another owner when it acknowledges them.
async fn consume(rig: &Rig) -> (Vec<String>, usize) {
    let limits = ClaimLimits { max_messages: 37, max_bytes: 1 << 20, lease: SHORT };
    let (mut settled, mut taken, mut late) = (Vec::new(), 0_usize, Vec::new());
    let mut takeovers = 0;
    let start = Instant::now();
    while rig.status().await.settled.messages < TOTAL as u64 {
        assert!(start.elapsed() < DEADLINE, "{:?}", rig.status().await);
        let expired = rig.consumer.take_over_expired(Uuid::now_v7(), SHORT).await.unwrap();
        takeovers += usize::from(expired.is_some());
        let lease = match expired {
            Some(lease) => Some(lease),
            None => rig.consumer.claim(Uuid::now_v7(), Uuid::now_v7(), limits).await.unwrap(),
        };
        let Some(lease) = lease else { continue };
        taken += 1;
        if taken % 3 == 0 {
            late.push(lease);
        } else {
            settle(rig, &lease, &mut settled).await;
        }
        if late.len() > 10 {
            settle(rig, &late.remove(0), &mut settled).await;
        }
    }
    for lease in &late {
        assert_eq!(rig.consumer.ack(lease).await.unwrap(), 0, "everything was settled by others");
    }
    (settled, takeovers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_settled_exactly_once() {
    let rig = std::sync::Arc::new(Rig::new());
    let producers = (0..PRODUCERS).map(|producer| {
        let rig = rig.clone();
        tokio::spawn(async move { produce(&rig, producer).await })
    });
    let producers: Vec<_> = producers.collect();
    let consumers = (0..CONSUMERS).map(|_| {
        let rig = rig.clone();
        tokio::spawn(async move { consume(&rig).await })
    });
    let consumers: Vec<_> = consumers.collect();
    for producer in producers {
        producer.await.unwrap();
    }
    let (mut settled, mut takeovers) = (Vec::new(), 0);
    for consumer in consumers {
        let (own, taken_over) = consumer.await.unwrap();
        settled.extend(own);
        takeovers += taken_over;
    }
    settled.sort();
    let messages = settled.len();
    settled.dedup();
    assert_eq!((messages, settled.len()), (TOTAL, TOTAL));
    assert!(takeovers > 0, "no lease ever expired: the test proves too little");
    let [accepted, claimed, done] = rig.ledger().await;
    assert_eq!(accepted.0, TOTAL as u64);
    assert_eq!((claimed, done), (accepted, accepted));
    assert_eq!(rig.keys_left().await, Vec::<String>::new());
}

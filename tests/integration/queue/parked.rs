//! Parked batches, and the remains of batches after Redis has lost a part of its history.

use std::time::Duration;

use fleet_queue::Held;
use uuid::Uuid;

use super::{LONG, Rig, SHORT, texts};
use crate::support::eventually;

#[tokio::test]
async fn a_parked_batch_belongs_to_nobody_until_it_is_due() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    assert!(rig.consumer.park(&lease, LONG).await.unwrap());
    let status = rig.status().await;
    assert_eq!((status.leases, status.parked, status.leased().messages), (0, 1, 2));
    assert!(status.balances(), "{status:?}");
    assert_eq!(
        rig.observer.held().await.unwrap().unwrap(),
        Held { messages: 2, claimed_messages: 2, broken: Vec::new() }
    );
    assert_eq!(rig.consumer.due().await.unwrap(), fleet_queue::Due::default());
    let early = rig.consumer.take_over_lease(lease.id, Uuid::now_v7(), LONG).await.unwrap();
    assert!(early.is_none(), "it is not due");
}

#[tokio::test]
async fn a_parked_batch_is_taken_up_whole_and_no_death_counts() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    assert!(rig.consumer.park(&lease, Duration::ZERO).await.unwrap());
    let due = rig.consumer.due().await.unwrap();
    assert_eq!((due.expired, due.parked), (None, Some(lease.id)));
    let token = Uuid::now_v7();
    let resumed = rig.consumer.take_over_lease(lease.id, token, LONG).await.unwrap().unwrap();
    assert_eq!((texts(&resumed), resumed.takeovers), (texts(&lease), 0));
    // The reply to that was lost.
    let again = rig.consumer.take_over_lease(lease.id, token, LONG).await.unwrap().unwrap();
    assert_eq!(texts(&again), ["a", "b"]);
    assert!(!rig.consumer.park(&lease, LONG).await.unwrap(), "it has another owner");
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0, "a former owner settles nothing");
    assert_eq!(rig.consumer.ack(&resumed).await.unwrap(), 2);
    assert_eq!(rig.keys_left().await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_dies_with_a_resumed_batch_is_found_out() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    assert!(rig.consumer.park(&lease, Duration::ZERO).await.unwrap());
    let resumed = rig.consumer.take_over_lease(lease.id, Uuid::now_v7(), SHORT).await.unwrap().unwrap();
    let next = eventually("the lease to run out", async || rig.take_over_expired().await).await;
    assert_eq!((next.id, next.takeovers), (resumed.id, 1));
}

#[tokio::test]
async fn a_late_heartbeat_does_not_bring_a_parked_batch_back() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    assert!(rig.consumer.park(&lease, LONG).await.unwrap());
    rig.consumer.extend(&lease, LONG).await.unwrap();
    let status = rig.status().await;
    assert_eq!((status.leases, status.parked), (0, 1));
}

#[tokio::test]
async fn what_is_no_batch_is_in_nobodys_way() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    for key in [&rig.keys.leases, &rig.keys.parked] {
        rig.redis::<()>(&["ZADD", key, "0", "nonsense", "1", "more of it"]).await;
    }
    assert!(rig.consumer.extend(&lease, Duration::ZERO).await.unwrap());
    let due = rig.consumer.due().await.unwrap();
    assert_eq!((due.expired, due.parked), (Some(lease.id), None));
    let lease = rig.take_over_expired().await.unwrap();
    assert!(rig.consumer.park(&lease, Duration::ZERO).await.unwrap());
    assert_eq!(rig.consumer.due().await.unwrap().parked, Some(lease.id));
}

#[tokio::test]
async fn a_batch_without_an_expiry_is_reclaimed() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    rig.redis::<()>(&["DEL", &rig.keys.leases]).await;
    assert!(!rig.status().await.balances());
    assert_eq!(rig.consumer.reclaim().await.unwrap(), Some(1));
    let found = rig.take_over_expired().await.unwrap();
    assert_eq!((found.id, texts(&found)), (lease.id, vec!["a".to_owned()]));
    assert_eq!(rig.consumer.reclaim().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_batch_without_an_owner_is_still_owed() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "bc"]).await;
    rig.redis::<()>(&["DEL", &rig.keys.owners]).await;
    assert_eq!(
        rig.observer.held().await.unwrap().unwrap(),
        Held { messages: 0, claimed_messages: 2, broken: Vec::new() }
    );
    assert!(rig.consumer.extend(&lease, SHORT).await.is_ok_and(|ours| !ours));
    rig.redis::<()>(&["ZADD", &rig.keys.leases, "0", &lease.id.to_string()]).await;
    let found = rig.take_over_expired().await.unwrap();
    assert_eq!(texts(&found), ["a", "bc"]);
    assert_eq!(rig.consumer.ack(&found).await.unwrap(), 2);
    assert_eq!(rig.ledger().await, [(2, 3), (2, 3), (2, 3)]);
}

#[tokio::test]
async fn a_batch_that_redis_has_lost_counts_nothing() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    let before = rig.ledger().await;
    rig.redis::<()>(&["DEL", &rig.keys.lease(lease.id)]).await;
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0);
    assert!(rig.take_over_expired().await.is_none());
    let status = rig.status().await;
    assert_eq!((status.settled.messages, status.settled.bytes, status.leases), (before[2].0, before[2].1, 0));
    assert!(!status.balances(), "a message is missing");
}

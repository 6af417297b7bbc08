//! Extend, take over, mark and release, and an owner that comes back after its lease has expired.

use fleet_queue::{Lease, Mark};
use uuid::Uuid;

use super::{EVERYTHING, LONG, Rig, SHORT, texts};

/// `lease` with another owner's token.
fn foreign(lease: &Lease) -> Lease {
    Lease { token: Uuid::now_v7(), ..lease.clone() }
}

async fn expiry_ms(rig: &Rig, lease: &Lease) -> f64 {
    rig.redis(&["ZSCORE", &rig.keys.leases, &lease.id.to_string()]).await
}

async fn now_ms(rig: &Rig) -> f64 {
    let (seconds, micros): (f64, f64) = rig.redis(&["TIME"]).await;
    seconds * 1000.0 + micros / 1000.0
}

#[tokio::test]
async fn the_owner_extends_its_lease() {
    let rig = Rig::new();
    rig.push(&["a"]).await;
    let lease = rig.claim(fleet_queue::ClaimLimits { lease: LONG / 2, ..EVERYTHING }).await.unwrap();
    let before = expiry_ms(&rig, &lease).await;
    assert!(rig.consumer.extend(&lease, LONG).await.unwrap());
    let added = expiry_ms(&rig, &lease).await - before;
    assert!(added >= 300_000.0, "{added} ms were added");
    let left = expiry_ms(&rig, &lease).await - now_ms(&rig).await;
    assert!((500_000.0..=600_000.0).contains(&left), "{left} ms are left");
}

#[tokio::test]
async fn nobody_else_extends_marks_or_acks_a_lease() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    let before = expiry_ms(&rig, &lease).await;
    let foreign = foreign(&lease);
    assert!(!rig.consumer.extend(&foreign, SHORT).await.unwrap());
    assert!(!rig.consumer.mark(&foreign, Mark::Clear).await.unwrap());
    rig.consumer.release(&foreign).await.unwrap();
    assert_eq!(rig.consumer.ack(&foreign).await.unwrap(), 0);
    let after = expiry_ms(&rig, &lease).await;
    assert!((after - before).abs() < 0.5, "the lease expires at {after} instead of {before}");
    assert_eq!(rig.ledger().await, [(1, 1), (1, 1), (0, 0)]);
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1);
}

#[tokio::test]
async fn a_takeover_waits_for_the_expiry() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    assert!(rig.take_over_expired().await.is_none(), "the lease is good for minutes");
    assert!(rig.consumer.extend(&lease, SHORT).await.unwrap());
    let expiry = expiry_ms(&rig, &lease).await;
    let next =
        crate::support::eventually("the lease to expire", async || rig.take_over_expired().await).await;
    assert!(now_ms(&rig).await >= expiry);
    assert_ne!(next.token, lease.token);
    assert!(rig.take_over_expired().await.is_none(), "it is somebody's again");
}

#[tokio::test]
async fn of_several_who_see_an_expired_lease_one_gets_it() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    rig.consumer.release(&lease).await.unwrap();
    let (a, b, c) = tokio::join!(rig.take_over_expired(), rig.take_over_expired(), rig.take_over_expired());
    let owners: Vec<_> = [a, b, c].into_iter().flatten().collect();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(rig.consumer.ack(&owners[0]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_batch_stays_whole_through_takeovers() {
    let rig = Rig::new();
    let items = ["a", "b", "c", "d"];
    let mut lease = rig.leased(&items).await;
    rig.push(&["later"]).await;
    for takeovers in 1..=3 {
        lease = rig.outlive(&lease).await;
        assert_eq!(texts(&lease), items);
        assert_eq!((lease.takeovers, &lease.mark), (takeovers, &Mark::Parsing));
        assert_eq!(rig.ledger().await, [(5, 9), (4, 4), (0, 0)], "nothing is claimed again");
        let waiting: Vec<String> = rig.redis(&["LRANGE", &rig.keys.queue, "0", "-1"]).await;
        assert_eq!(waiting, ["later"], "nothing goes back to the queue");
    }
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 4);
    assert_eq!(rig.ledger().await, [(5, 9), (4, 4), (4, 4)]);
}

#[tokio::test]
async fn the_lease_that_expired_first_is_taken_over_first() {
    let rig = Rig::new();
    let (first, second) = (rig.leased(&["a"]).await, rig.leased(&["b"]).await);
    rig.consumer.release(&second).await.unwrap();
    crate::support::eventually("Redis' clock to move", async || {
        (now_ms(&rig).await > expiry_ms(&rig, &second).await + 1.0).then_some(())
    })
    .await;
    rig.consumer.release(&first).await.unwrap();
    let taken = [rig.take_over_expired().await.unwrap().id, rig.take_over_expired().await.unwrap().id];
    assert_eq!(taken, [second.id, first.id]);
}

#[tokio::test]
async fn a_death_without_a_mark_does_not_count() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    assert!(rig.consumer.mark(&lease, Mark::Clear).await.unwrap());
    let lease = rig.outlive(&lease).await;
    assert_eq!((lease.takeovers, &lease.mark), (0, &Mark::Parsing), "the new owner begins to parse");
    assert!(rig.consumer.mark(&lease, Mark::Clear).await.unwrap());
    let lease = rig.outlive(&lease).await;
    assert_eq!(lease.takeovers, 0);
    let lease = rig.outlive(&lease).await;
    assert_eq!((lease.takeovers, &lease.mark), (1, &Mark::Parsing));
}

#[tokio::test]
async fn what_an_earlier_version_has_marked_can_be_read() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b", "c"]).await;
    let record = format!("{} 0 3 items:0,2", lease.token);
    rig.redis::<()>(&["HSET", &rig.keys.owners, &lease.id.to_string(), &record]).await;
    let lease = rig.outlive(&lease).await;
    assert_eq!((lease.takeovers, &lease.mark), (1, &Mark::Parsing));
    assert_eq!(texts(&lease), ["a", "b", "c"]);
    assert!(rig.consumer.mark(&lease, Mark::Parsing).await.unwrap());
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 3);
    assert_eq!(rig.ledger().await, [(3, 3); 3], "a mark must not lose the batch's size");
}

#[tokio::test]
async fn a_zombie_can_do_nothing() {
    let rig = Rig::new();
    let zombie = rig.leased(&["a", "b"]).await;
    let owner = rig.outlive(&zombie).await;
    let before = (rig.status().await, expiry_ms(&rig, &owner).await);
    assert!(!rig.consumer.extend(&zombie, SHORT).await.unwrap());
    assert!(!rig.consumer.mark(&zombie, Mark::Clear).await.unwrap());
    rig.consumer.release(&zombie).await.unwrap();
    assert_eq!(rig.consumer.ack(&zombie).await.unwrap(), 0);
    let again = rig.consumer.claim(zombie.id, zombie.token, EVERYTHING).await.unwrap();
    assert!(again.is_none(), "it cannot claim its batch back");
    assert_eq!((rig.status().await, expiry_ms(&rig, &owner).await), before);
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 2);
    assert_eq!(rig.consumer.ack(&zombie).await.unwrap(), 0);
    assert_eq!(rig.ledger().await, [(2, 2); 3]);
}

#[tokio::test]
async fn an_owner_whose_lease_has_expired_may_still_finish() {
    let rig = Rig::new();
    let lease = rig.leased(&["a"]).await;
    assert!(rig.consumer.extend(&lease, std::time::Duration::ZERO).await.unwrap());
    assert!(rig.consumer.mark(&lease, Mark::Clear).await.unwrap());
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 1);
    assert!(rig.take_over_expired().await.is_none());
}

#[tokio::test]
async fn a_released_batch_is_free_at_once_and_unblamed() {
    let rig = Rig::new();
    let mut lease = rig.leased(&["a", "b"]).await;
    for _ in 0..3 {
        rig.consumer.release(&lease).await.unwrap();
        lease = rig.take_over_expired().await.expect("no waiting");
        assert_eq!((lease.takeovers, &lease.mark), (0, &Mark::Parsing));
        assert_eq!(texts(&lease), ["a", "b"]);
    }
    assert_eq!(rig.ledger().await, [(2, 2), (2, 2), (0, 0)]);
}

//! Push, claim and ack: order, limits, retries and the ledger.

use fleet_queue::{Consumer, Envelope, Producer};
use jiff::Timestamp;
use uuid::Uuid;

use super::{EVERYTHING, Rig, limits, texts};

#[tokio::test]
async fn what_is_pushed_is_claimed_in_order() {
    let rig = Rig::new();
    rig.push(&["one", "two"]).await;
    rig.push(&["three"]).await;
    let lease = rig.claim(EVERYTHING).await.unwrap();
    assert_eq!(texts(&lease), ["one", "two", "three"]);
    assert_eq!((lease.takeovers, lease.mark), (0, fleet_queue::Mark::Parsing));
    assert!(rig.claim(EVERYTHING).await.is_none(), "the queue is empty now");
}

#[tokio::test]
async fn bytes_pass_untouched() {
    let rig = Rig::new();
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let items = vec![every_byte, Vec::new(), b"\r\n\0".to_vec()];
    rig.producer.push(&items).await.unwrap();
    let lease = rig.claim(EVERYTHING).await.unwrap();
    assert_eq!(lease.items, items);
}

#[tokio::test]
async fn an_empty_queue_yields_nothing_and_leaves_nothing() {
    let rig = Rig::new();
    assert!(rig.claim(EVERYTHING).await.is_none());
    assert!(rig.take_over_expired().await.is_none());
    assert_eq!(rig.keys_left().await, Vec::<String>::new());
    assert_eq!(rig.ledger().await, [(0, 0); 3]);
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_returns_the_same_batch() {
    let rig = Rig::new();
    rig.push(&["a", "bb", "ccc"]).await;
    let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
    for _ in 0..2 {
        let lease = rig.consumer.claim(id, token, limits(2, 1000)).await.unwrap().unwrap();
        assert_eq!(texts(&lease), ["a", "bb"]);
        assert_eq!(rig.ledger().await, [(3, 6), (2, 3), (0, 0)]);
    }
}

#[tokio::test]
async fn asking_again_finds_the_batch_and_never_makes_one() {
    let rig = Rig::new();
    rig.push(&["a"]).await;
    let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
    let again = async || rig.consumer.claim_again(id, token, EVERYTHING).await.unwrap();
    assert!(again().await.is_none(), "the claim never arrived");
    assert_eq!(rig.ledger().await, [(1, 1), (0, 0), (0, 0)]);
    rig.consumer.claim(id, token, EVERYTHING).await.unwrap();
    assert_eq!(texts(&again().await.unwrap()), ["a"]);
    assert_eq!(rig.ledger().await, [(1, 1), (1, 1), (0, 0)]);
}

/// A second batch with the id of a settled one would count as settled in the databases.
#[tokio::test]
async fn a_settled_id_never_names_another_batch() {
    let rig = Rig::new();
    let lost = rig.leased(&["a"]).await;
    rig.push(&["b"]).await;
    let owner = rig.outlive(&lost).await;
    let again = async || rig.consumer.claim_again(lost.id, lost.token, EVERYTHING).await.unwrap();
    assert!(again().await.is_none(), "it belongs to another consumer");
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 1);
    assert!(again().await.is_none(), "it is settled");
    assert_eq!(rig.ledger().await, [(2, 2), (1, 1), (1, 1)]);
}

#[tokio::test]
async fn a_claim_by_somebody_else_under_the_same_id_gets_nothing() {
    let rig = Rig::new();
    rig.push(&["a", "b"]).await;
    let id = Uuid::now_v7();
    let claim = async || rig.consumer.claim(id, Uuid::now_v7(), limits(1, 1000)).await.unwrap();
    assert!(claim().await.is_some());
    assert!(claim().await.is_none());
    assert_eq!(rig.ledger().await, [(2, 2), (1, 1), (0, 0)]);
}

#[tokio::test]
async fn a_claim_takes_at_most_so_many_messages() {
    let rig = Rig::new();
    rig.push(&["a", "b", "c", "d", "e"]).await;
    let mut batches = Vec::new();
    while let Some(lease) = rig.claim(limits(2, 1000)).await {
        batches.push(texts(&lease));
    }
    assert_eq!(batches, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}

#[tokio::test]
async fn a_claim_takes_at_most_so_many_bytes() {
    let rig = Rig::new();
    rig.push(&["0123456789", "ab", "cde", "f", "ghijk"]).await;
    let mut batches = Vec::new();
    while let Some(lease) = rig.claim(limits(100, 6)).await {
        batches.push(texts(&lease));
    }
    let expected = [vec!["0123456789"], vec!["ab", "cde", "f"], vec!["ghijk"]];
    assert_eq!(batches, expected, "a message above the limit comes alone, and a batch may be exactly full");
}

#[tokio::test]
async fn the_message_too_many_goes_back_to_the_head() {
    let rig = Rig::new();
    rig.push(&["aaa", "bbb", "ccc"]).await;
    let lease = rig.claim(limits(100, 5)).await.unwrap();
    assert_eq!(texts(&lease), ["aaa"]);
    let waiting: Vec<String> = rig.redis(&["LRANGE", &rig.keys.queue, "0", "-1"]).await;
    assert_eq!(waiting, ["bbb", "ccc"]);
    assert_eq!(rig.ledger().await, [(3, 9), (1, 3), (0, 0)]);
}

#[tokio::test]
async fn the_ledger_balances_at_every_step() {
    let rig = Rig::new();
    assert_eq!(rig.push(&["a", "bb"]).await, 3, "bytes in the backlog");
    assert_eq!(rig.push(&["ccc"]).await, 6);
    assert_eq!(rig.ledger().await, [(3, 6), (0, 0), (0, 0)]);
    let first = rig.claim(limits(2, 1000)).await.unwrap();
    let second = rig.claim(EVERYTHING).await.unwrap();
    assert_eq!(rig.ledger().await, [(3, 6), (3, 6), (0, 0)]);
    assert_eq!(rig.status().await.leases, 2);
    assert_eq!(rig.consumer.ack(&second).await.unwrap(), 1);
    assert_eq!(rig.ledger().await, [(3, 6), (3, 6), (1, 3)]);
    assert_eq!(rig.producer.ledger().await.unwrap().backlog().bytes, 3);
    assert_eq!(rig.consumer.ack(&first).await.unwrap(), 2);
    assert_eq!(rig.ledger().await, [(3, 6), (3, 6), (3, 6)]);
    assert_eq!(rig.push(&["dddd"]).await, 4);
}

#[tokio::test]
async fn an_ack_removes_every_key() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    let mut keys = rig.keys_left().await;
    keys.sort();
    let mut expected = [rig.keys.lease(lease.id), rig.keys.leases.clone(), rig.keys.owners.clone()];
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 2);
    assert_eq!(rig.keys_left().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_ack_counts_nothing() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    rig.leased(&["c"]).await;
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 2);
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0);
    assert_eq!(rig.ledger().await, [(3, 3), (3, 3), (2, 2)]);
}

#[tokio::test]
async fn queues_do_not_see_each_other() {
    let rig = Rig::new();
    let other = Producer::new(rig.link.clone(), &rig.prefix, "segway");
    other.push(&[b"theirs".to_vec()]).await.unwrap();
    assert!(rig.claim(EVERYTHING).await.is_none());
    let consumer = Consumer::new(rig.link.clone(), &rig.prefix, "segway");
    let lease = consumer.claim(Uuid::now_v7(), Uuid::now_v7(), EVERYTHING).await.unwrap();
    assert_eq!(texts(&lease.unwrap()), ["theirs"]);
}

#[tokio::test]
async fn the_status_tells_the_age_of_what_waits_and_of_what_is_leased() {
    let rig = Rig::new();
    let item = |millis| {
        let received_at = Timestamp::from_millisecond(millis).unwrap();
        let envelope = Envelope {
            message_id: Uuid::now_v7(),
            received_at,
            topic: "",
            content_type: None,
            traceparent: None,
            body: b"{}",
        };
        (received_at, envelope.encode())
    };
    let ((first_at, first), (second_at, second)) = (item(1_718_000_000_001), item(1_718_000_000_002));
    rig.producer.push(&[first, second]).await.unwrap();
    let status = rig.status().await;
    assert_eq!((status.oldest_waiting, status.oldest_leased), (Some(first_at), None));
    rig.claim(limits(1, 1000)).await.unwrap();
    let status = rig.status().await;
    assert_eq!((status.oldest_waiting, status.oldest_leased), (Some(second_at), Some(first_at)));
}

#[tokio::test]
async fn a_batch_grows_by_further_claims() {
    let rig = Rig::new();
    rig.push(&["a", "bb", "ccc", "dddd", "e"]).await;
    let mut lease = rig.claim(limits(2, 1000)).await.unwrap();
    assert_eq!(rig.consumer.claim_more(&mut lease, limits(2, 1000)).await.unwrap(), Some(2));
    assert_eq!(texts(&lease), ["a", "bb", "ccc", "dddd"]);
    assert_eq!(lease.bytes(), 10);
    assert_eq!(rig.ledger().await, [(5, 11), (4, 10), (0, 0)]);
    assert_eq!(rig.consumer.claim_more(&mut lease, limits(2, 1000)).await.unwrap(), Some(1));
    assert_eq!(rig.consumer.claim_more(&mut lease, limits(2, 1000)).await.unwrap(), Some(0));
    // As after a lost reply, and after the owner's death.
    let again = rig.consumer.claim_again(lease.id, lease.token, EVERYTHING).await.unwrap().unwrap();
    assert_eq!(texts(&again), texts(&lease));
    let owner = rig.outlive(&lease).await;
    assert_eq!(texts(&owner), texts(&lease));
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 5);
    assert_eq!(rig.ledger().await, [(5, 11), (5, 11), (5, 11)]);
}

#[tokio::test]
async fn a_growing_batch_keeps_its_limit_of_bytes() {
    let rig = Rig::new();
    rig.push(&["aaa", "bb", "0123456789", "c"]).await;
    let mut lease = rig.claim(limits(1, 1000)).await.unwrap();
    assert_eq!(rig.consumer.claim_more(&mut lease, limits(10, 5)).await.unwrap(), Some(1));
    assert_eq!(rig.consumer.claim_more(&mut lease, limits(10, 5)).await.unwrap(), Some(0));
    assert_eq!(texts(&lease), ["aaa", "bb"]);
    let waiting: Vec<String> = rig.redis(&["LRANGE", &rig.keys.queue, "0", "-1"]).await;
    assert_eq!(waiting, ["0123456789", "c"]);
    assert_eq!(rig.ledger().await, [(4, 16), (2, 5), (0, 0)]);
}

#[tokio::test]
async fn only_the_owner_lets_a_batch_grow() {
    let rig = Rig::new();
    rig.push(&["a", "b"]).await;
    let mut zombie = rig.claim(limits(1, 1000)).await.unwrap();
    let owner = rig.outlive(&zombie).await;
    assert_eq!(rig.consumer.claim_more(&mut zombie, EVERYTHING).await.unwrap(), None);
    rig.consumer.ack(&owner).await.unwrap();
    assert_eq!(rig.consumer.claim_more(&mut zombie, EVERYTHING).await.unwrap(), None);
    assert_eq!(texts(&zombie), ["a"]);
    assert_eq!(rig.ledger().await, [(2, 2), (1, 1), (1, 1)]);
}

/// The call for more is delivered after its caller has read the batch again, and has stored it.
#[tokio::test]
async fn an_ack_leaves_messages_that_its_caller_does_not_know() {
    let rig = Rig::new();
    rig.push(&["a", "b"]).await;
    let known = rig.claim(limits(1, 1000)).await.unwrap();
    let mut late = known.clone();
    assert_eq!(rig.consumer.claim_more(&mut late, EVERYTHING).await.unwrap(), Some(1));
    assert_eq!(rig.consumer.ack(&known).await.unwrap(), 0);
    let owner = rig.outlive(&known).await;
    assert_eq!(texts(&owner), ["a", "b"]);
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 2);
    assert_eq!(rig.ledger().await, [(2, 2), (2, 2), (2, 2)]);
}

#[tokio::test]
async fn a_parked_batch_does_not_grow() {
    let rig = Rig::new();
    rig.push(&["a", "b"]).await;
    let mut lease = rig.claim(limits(1, 1000)).await.unwrap();
    assert!(rig.consumer.park(&lease, std::time::Duration::ZERO).await.unwrap());
    assert_eq!(rig.consumer.claim_more(&mut lease, EVERYTHING).await.unwrap(), None);
    assert_eq!(rig.ledger().await, [(2, 2), (1, 1), (0, 0)]);
}

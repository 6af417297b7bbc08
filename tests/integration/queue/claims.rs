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

/// More messages than a claim moves one by one.
const MANY: usize = 1_000;

/// So many different texts, with 6 bytes each.
fn many(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("m{index:05}")).collect()
}

async fn push_many(rig: &Rig, items: &[String]) {
    rig.push(&items.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_long_queue_is_claimed_in_order() {
    let rig = Rig::new();
    let items = many(MANY);
    push_many(&rig, &items).await;
    let mut claimed = Vec::new();
    while let Some(lease) = rig.claim(limits(300, 1 << 20)).await {
        claimed.push(texts(&lease));
    }
    assert_eq!(claimed.iter().map(Vec::len).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert_eq!(claimed.concat(), items);
}

#[tokio::test]
async fn the_bytes_of_a_long_queue_are_counted_at_the_ack() {
    let rig = Rig::new();
    push_many(&rig, &many(MANY)).await;
    let lease = rig.claim(limits(400, 1 << 20)).await.unwrap();
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (400, 0), (0, 0)]);
    let again = rig.consumer.claim_again(lease.id, lease.token, EVERYTHING).await.unwrap().unwrap();
    assert_eq!(texts(&again), texts(&lease));
    assert_eq!(rig.consumer.ack(&again).await.unwrap(), 400);
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (400, 2_400), (400, 2_400)]);
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0);
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (400, 2_400), (400, 2_400)]);
}

#[tokio::test]
async fn the_bytes_of_a_long_queue_are_counted_at_a_takeover() {
    let rig = Rig::new();
    push_many(&rig, &many(MANY)).await;
    let lease = rig.claim(limits(400, 1 << 20)).await.unwrap();
    assert!(rig.consumer.mark(&lease, fleet_queue::Mark::Clear).await.unwrap());
    let mut owner = lease.clone();
    for _death in 0..2 {
        owner = rig.outlive(&owner).await;
        assert_eq!(texts(&owner), texts(&lease));
        assert_eq!(rig.ledger().await, [(1_000, 6_000), (400, 2_400), (0, 0)]);
        assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0, "it has another owner");
    }
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 400);
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (400, 2_400), (400, 2_400)]);
}

#[tokio::test]
async fn the_bytes_of_a_long_queue_balance_after_the_record_of_a_batch_is_lost() {
    let rig = Rig::new();
    push_many(&rig, &many(MANY)).await;
    let lease = rig.claim(limits(400, 1 << 20)).await.unwrap();
    let other = rig.claim(limits(400, 1 << 20)).await.unwrap();
    rig.redis::<()>(&["HDEL", &rig.keys.owners, &lease.id.to_string()]).await;
    rig.redis::<()>(&["ZADD", &rig.keys.leases, "1", &lease.id.to_string()]).await;
    let owner = rig.take_over_expired().await.unwrap();
    assert_eq!(texts(&owner), texts(&lease));
    assert_eq!(rig.consumer.ack(&owner).await.unwrap(), 400);
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (800, 2_400), (400, 2_400)]);
    assert_eq!(rig.consumer.ack(&other).await.unwrap(), 400);
    assert_eq!(rig.ledger().await, [(1_000, 6_000), (800, 4_800), (800, 4_800)]);
}

#[tokio::test]
async fn a_claim_of_large_messages_is_nearly_as_large_as_it_may_be() {
    let rig = Rig::new();
    let items: Vec<_> = (0..200).map(|index| format!("{index:03}{}", "x".repeat(33_000))).collect();
    push_many(&rig, &items).await;
    let lease = rig.claim(limits(1_000, 4 << 20)).await.unwrap();
    assert!((3 << 20..4 << 20).contains(&lease.bytes()), "{} bytes", lease.bytes());
    assert_eq!(texts(&lease), items[..lease.items.len()]);
}

#[tokio::test]
async fn large_messages_behind_small_ones_do_not_exceed_the_limit() {
    const LIMIT: usize = 64 * 1024;
    let rig = Rig::new();
    let large = |index| format!("{index}{}", "x".repeat(10_000));
    let items: Vec<_> = many(100).into_iter().chain((0..200).map(large)).chain(many(MANY)).collect();
    push_many(&rig, &items).await;
    let mut claimed = Vec::new();
    while let Some(lease) = rig.claim(limits(MANY, LIMIT)).await {
        assert!(lease.bytes() <= LIMIT, "{} bytes", lease.bytes());
        claimed.extend(texts(&lease));
        assert!(rig.consumer.ack(&lease).await.unwrap() > 0);
    }
    assert!(claimed == items, "{} messages of {}", claimed.len(), items.len());
    let total = items.iter().map(String::len).sum::<usize>() as u64;
    assert_eq!(rig.ledger().await, [(1_300, total); 3]);
}

/// An operator, or another program, has changed it.
#[tokio::test]
async fn an_ack_leaves_messages_that_its_caller_does_not_know() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    rig.redis::<()>(&["RPUSH", &rig.keys.lease(lease.id), "c"]).await;
    assert_eq!(rig.consumer.ack(&lease).await.unwrap(), 0);
    assert_eq!(texts(&rig.outlive(&lease).await), ["a", "b", "c"]);
}

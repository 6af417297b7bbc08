//! A Redis that has forgotten what it had accepted is found out by what was seen of it before.

use fleet_queue::{Look, Lookout, Witness};

use super::{EVERYTHING, Rig};

const NOW_MS: u64 = 1_800_000_000_000;

async fn look(rig: &Rig, now_ms: u64) -> Look {
    Lookout::new(rig.link.clone(), &rig.prefix, "niu").look(now_ms).await.unwrap()
}

/// What a consumer would keep of a look.
fn witness(look: &Look, looked_at_ms: u64) -> Witness {
    Witness { looked_at_ms, counted: look.counted }
}

#[tokio::test]
async fn work_is_no_loss() {
    let rig = Rig::new();
    let first = look(&rig, NOW_MS).await;
    assert_eq!(first.before, None);
    let known = witness(&first, NOW_MS);
    let lease = rig.leased(&["a", "b"]).await;
    rig.push(&["c"]).await;
    rig.consumer.ack(&lease).await.unwrap();
    let second = look(&rig, NOW_MS + 2000).await;
    assert_eq!((second.counted.accepted, second.counted.settled), (3, 2));
    assert_eq!(known.loss(&second), None);
    // Another consumer, whose clock is late, has looked in between.
    let third = look(&rig, NOW_MS + 1000).await;
    assert_eq!(witness(&second, NOW_MS + 2000).loss(&third), None);
}

#[tokio::test]
async fn an_emptied_queue_owes_what_was_not_settled() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    rig.consumer.ack(&lease).await.unwrap();
    rig.push(&["c", "d", "e"]).await;
    let known = witness(&look(&rig, NOW_MS).await, NOW_MS);
    rig.redis::<()>(&["DEL", &rig.keys.queue, &rig.keys.ledger]).await;
    let loss = known.loss(&look(&rig, NOW_MS + 1).await).unwrap();
    assert_eq!(loss.missing_messages, 3);
}

#[tokio::test]
async fn the_next_push_tells_its_producer() {
    let rig = Rig::new();
    let mut history = fleet_queue::PushHistory::default();
    let mut push = async |items: &[&str]| {
        let items: Vec<_> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
        let ledger = rig.producer.push(&items).await.unwrap();
        history.pushed(&ledger, u64::try_from(items.len()).unwrap())
    };
    assert_eq!(push(&["a", "b"]).await, None);
    rig.claim(EVERYTHING).await.unwrap();
    assert_eq!(push(&["c"]).await, None);
    rig.redis::<()>(&["DEL", &rig.keys.queue, &rig.keys.ledger]).await;
    assert_eq!(push(&["d"]).await.unwrap().missing_messages, 3);
    assert_eq!(push(&["e"]).await, None);
}

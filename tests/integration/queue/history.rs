//! A Redis that has forgotten messages is detected by comparing it with earlier observations.

use fleet_queue::{Lookout, Witness};

use super::{EVERYTHING, Rig};

const NOW_MS: u64 = 1_800_000_000_000;

fn lookout(rig: &Rig) -> Lookout {
    Lookout::new(rig.link.clone(), &rig.prefix, "niu")
}

/// Observes the queue and notes the observation, as a consumer does if nothing is wrong.
async fn witness(rig: &Rig, now_ms: u64) -> Witness {
    let look = lookout(rig).look().await.unwrap();
    let noted = lookout(rig).note(&look, now_ms).await.unwrap().expect("no other consumer observes");
    Witness { number: noted.number, looked_at_ms: now_ms, counted: noted.counted }
}

#[tokio::test]
async fn work_is_no_loss() {
    let rig = Rig::new();
    let known = witness(&rig, NOW_MS).await;
    let lease = rig.leased(&["a", "b"]).await;
    rig.push(&["c"]).await;
    rig.consumer.ack(&lease).await.unwrap();
    let look = lookout(&rig).look().await.unwrap();
    assert_eq!((look.number, look.looked_at_ms, look.accepted_then), (1, NOW_MS, 0));
    assert_eq!((look.counted.accepted, look.counted.settled), (3, 2));
    assert_eq!(known.loss(&look), None);
    // Another consumer, whose clock is slow, observes at the same time. Only one of the two can note its observation.
    let noted = lookout(&rig).note(&look, NOW_MS - 1000).await.unwrap().unwrap();
    assert_eq!((noted.number, noted.accepted_then), (2, 3));
    assert_eq!(lookout(&rig).note(&look, NOW_MS).await.unwrap(), None);
    assert_eq!(known.loss(&lookout(&rig).look().await.unwrap()), None);
}

#[tokio::test]
async fn an_emptied_queue_owes_what_was_not_settled() {
    let rig = Rig::new();
    let lease = rig.leased(&["a", "b"]).await;
    rig.consumer.ack(&lease).await.unwrap();
    rig.push(&["c", "d", "e"]).await;
    let known = witness(&rig, NOW_MS).await;
    rig.redis::<()>(&["DEL", &rig.keys.queue, &rig.keys.ledger]).await;
    for _ in 0..2 {
        let loss = known.loss(&lookout(&rig).look().await.unwrap()).unwrap();
        assert_eq!(loss.missing_messages, 3, "an observation alone does not hide the loss");
    }
}

#[tokio::test]
async fn the_next_push_tells_its_producer() {
    let rig = Rig::new();
    let mut history = fleet_queue::PushHistory::default();
    let mut push = async |items: &[&str]| {
        let items: Vec<_> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
        let ledger = rig.producer.push(&items).await.unwrap().ledger.unwrap();
        history.pushed(&ledger, u64::try_from(items.len()).unwrap())
    };
    assert_eq!(push(&["a", "b"]).await, None);
    rig.claim(EVERYTHING).await.unwrap();
    assert_eq!(push(&["c"]).await, None);
    rig.redis::<()>(&["DEL", &rig.keys.queue, &rig.keys.ledger]).await;
    assert_eq!(push(&["d"]).await.unwrap().missing_messages, 3);
    assert_eq!(push(&["e"]).await, None);
}

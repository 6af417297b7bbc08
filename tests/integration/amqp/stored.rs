//! What arrives is pushed unchanged, and acknowledged after that.

use std::collections::BTreeSet;

use rustix::process::Signal;

use super::broker::{Broker, KINDS, Kind, state, states};
use super::rig::{Rig, reaches, total};
use crate::process::program::Program;

#[tokio::test]
async fn every_message_is_pushed_and_acknowledged() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    for kind in KINDS {
        let (rig, queue) = (Rig::new(), publisher.declare(kind).await);
        let published = states(0..3000);
        publisher.publish(&queue, &published).await;
        let bridge = rig.consuming(broker, &[&queue]).await;
        rig.all_pushed(&published).await;
        reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3000.0).await;
        assert_eq!(rig.pushed().await.len(), 3000, "none is pushed twice");
        assert!(rig.pushed().await.iter().all(|pushed| pushed.topic == "VehicleStateRecorded"));
        assert_eq!(total(&bridge, "fleet_bridge_unacked_messages", "").await, 0.0);
        assert!(total(&bridge, "fleet_bridge_push_messages_count", "").await < 300.0, "pushed together");
        let peak_mib = bridge.peak_bytes() >> 20;
        assert!(peak_mib <= 64, "{peak_mib} MiB");
        bridge.signal(Signal::TERM);
        let ended = bridge.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        publisher.left(&queue, 0).await;
    }
}

#[tokio::test]
async fn several_queues_share_a_connection() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let rig = Rig::new();
    let queues = [publisher.declare(Kind::Quorum).await, publisher.declare(Kind::Classic).await];
    let bridge = rig.consuming(broker, &[&queues[0], &queues[1]]).await;
    publisher.publish(&queues[0], &states(0..10)).await;
    publisher.publish(&queues[1], &states(10..20)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &queues[0], 10.0).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &queues[1], 10.0).await;
    assert_eq!(rig.bodies().await.len(), 20);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_pushed_as_it_is() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let published: [&[u8]; 4] = [b"", b"no JSON\n", b"{\"cut", &[0, 255, 10, 13]];
    publisher.publish(&queue, &published).await;
    let _bridge = rig.consuming(broker, &[&queue]).await;
    rig.all_pushed(&published).await;
    assert!(
        rig.pushed().await.iter().all(|pushed| pushed.content_type.as_deref() == Some("application/json"))
    );
}

#[tokio::test]
async fn of_a_message_above_the_limit_the_beginning_is_pushed() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(100_000));
    publisher.publish(&queue, &[large.as_bytes(), state(1).as_bytes()]).await;
    let mut command = rig.command(broker, &[&queue]);
    let bridge = Program::start(command.env("FLEET_PROVIDERS__INVERS__MAX_BODY_BYTES", "50000"));
    rig.all_pushed(&[&large.as_bytes()[..4096]]).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 2.0).await;
    assert_eq!(total(&bridge, "fleet_bridge_oversize_messages_total", "").await, 1.0);
    let types: BTreeSet<_> =
        rig.pushed().await.into_iter().filter_map(|pushed| pushed.content_type).collect();
    assert_eq!(types, BTreeSet::from(["application/json", fleet_queue::TRUNCATED].map(str::to_owned)));
    bridge.logged("messages are above the size limit").await;
}

#[tokio::test]
async fn a_push_is_spread_over_shards() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    publisher.publish(&queue, &states(0..100)).await;
    let mut command = rig.command(broker, &[&queue]);
    command.env("FLEET_PROVIDERS__INVERS__SHARDS", "2").env("FLEET_API__COMMIT_MAX_MESSAGES", "10");
    let bridge = Program::start(&mut command);
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 100.0).await;
    for shard in ["invers.0", "invers.1"] {
        let status = rig.site.queue_of(shard).await;
        assert!(status.balances() && status.waiting_messages > 0, "{status:?}");
    }
}

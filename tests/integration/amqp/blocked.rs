//! A broker that has no memory left blocks its publishers.

use std::time::Duration;

use tokio::time::timeout;

use super::broker::{Broker, Kind, states};
use super::rig::{Rig, reaches};

/// A publisher that is not blocked needs milliseconds.
const STALLS: Duration = Duration::from_secs(3);

#[tokio::test]
async fn messages_are_consumed_while_the_broker_blocks_publishers() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let other = publisher.declare(Kind::Classic).await;
    publisher.publish(&queue, &states(0..2000)).await;
    let broker = broker
        .control(|rabbit| {
            rabbit.ctl(&["eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})."]).unwrap();
        })
        .await;
    let mut bridge = rig.consuming(&broker, &[&queue]).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 2000.0).await;
    bridge.readiness(200).await;
    assert_eq!(rig.bodies().await.len(), 2000);
    // The broker takes the first messages, and then reads nothing more from this connection.
    let published = timeout(STALLS, async {
        for body in states(0..100).chunks(1) {
            publisher.publish(&other, body).await;
        }
    });
    assert!(published.await.is_err(), "the alarm is not in force");
}

//! A broker that has no memory left blocks its publishers.

use super::broker::{Broker, Kind, states};
use super::rig::{Rig, reaches};

#[tokio::test]
async fn messages_are_consumed_while_the_broker_blocks_publishers() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
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
}

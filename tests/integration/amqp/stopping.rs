//! SIGTERM and SIGKILL with a full window of unacknowledged messages.

use fleet_testbed::Redis;
use rustix::process::Signal;

use super::broker::{Broker, KINDS, Kind, states};
use super::rig::{Rig, reaches};
use crate::process::program::Program;

#[tokio::test]
async fn sigterm_pushes_and_acknowledges_what_has_been_delivered() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    for kind in KINDS {
        let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
        let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(kind).await);
        let mut command = rig.command(broker, &[&queue]);
        let mut bridge = Program::start(command.env("FLEET_AMQP__PREFETCH", "700"));
        bridge.readiness(200).await;
        redis.pause().unwrap();
        let published = states(0..2000);
        publisher.publish(&queue, &published).await;
        reaches(&bridge, "fleet_bridge_unacked_messages", "", 700.0).await;
        bridge.signal(Signal::TERM);
        bridge.readiness(503).await;
        assert_eq!(bridge.status("/livez").await, Some(200));
        redis.resume().unwrap();
        let ended = bridge.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        let pushed = rig.bodies().await.len();
        assert!((700..2000).contains(&pushed), "{pushed}");
        publisher.left(&queue, u32::try_from(2000 - pushed).unwrap()).await;

        let bridge = rig.consuming(broker, &[&queue]).await;
        rig.all_pushed(&published).await;
        drop(bridge);
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_redis_for_ever() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    let mut command = rig.command(broker, &[&queue]);
    let mut bridge = Program::start(command.env("FLEET_AMQP__SHUTDOWN_TIMEOUT", "1s"));
    bridge.readiness(200).await;
    redis.kill().unwrap();
    publisher.publish(&queue, &states(0..10)).await;
    reaches(&bridge, "fleet_bridge_unacked_messages", "", 10.0).await;
    bridge.signal(Signal::TERM);
    let ended = bridge.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    assert!(ended.errors.contains("the broker delivers"), "{}", ended.errors);
    publisher.left(&queue, 10).await;
}

#[tokio::test]
async fn a_bridge_that_waits_for_its_services_stops_at_once() {
    let broker = Broker::shared().await;
    for (redis, url) in [("redis://127.0.0.1:1", broker.url()), ("", "amqps://a:b@127.0.0.1:1/c".to_owned())]
    {
        let rig = if redis.is_empty() { Rig::new() } else { Rig::on(redis) };
        let mut bridge = Program::start(&mut rig.command_to(broker, &url, &["states"]));
        bridge.readiness(503).await;
        bridge.signal(Signal::TERM);
        assert_eq!(bridge.ended().await.code, Some(0));
    }
}

#[tokio::test]
async fn what_a_killed_bridge_has_not_acknowledged_is_delivered_again() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    for kind in KINDS {
        let (rig, queue) = (Rig::new(), publisher.declare(kind).await);
        let published = states(0..3000);
        publisher.publish(&queue, &published).await;
        let mut command = rig.command(broker, &[&queue]);
        let first = Program::start(command.env("FLEET_API__COMMIT_MAX_MESSAGES", "5"));
        reaches(&first, "fleet_bridge_acked_messages_total", "", 20.0).await;
        first.signal(Signal::KILL);
        assert_eq!(first.ended().await.signal, Some(9));
        let second = rig.consuming(broker, &[&queue]).await;
        rig.all_pushed(&published).await;
        reaches(&second, "fleet_bridge_redelivered_messages_total", "", 1.0).await;
        second.signal(Signal::TERM);
        assert_eq!(second.ended().await.code, Some(0));
        publisher.left(&queue, 0).await;
    }
}

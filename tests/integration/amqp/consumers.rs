//! A consumer that ends while the connection stays up, and queues that appear, disappear or are forbidden.

use fleet_testbed::{AmqpLogin, Proxy, RabbitMq, Redis};

use super::broker::{Broker, Kind, states};
use super::rig::{Rig, reaches, total};
use crate::process::program::Program;
use crate::support::eventually;

#[tokio::test]
async fn a_cancelled_consumer_is_noticed_and_started_again() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let rig = Rig::new();
    let (queue, other) = (publisher.declare(Kind::Quorum).await, publisher.declare(Kind::Classic).await);
    let mut bridge = rig.consuming(broker, &[&queue, &other]).await;
    publisher.delete(&queue).await;
    bridge.readiness(503).await;
    reaches(&bridge, "fleet_bridge_streams_ended_total", r#"reason="cancelled""#, 1.0).await;
    reaches(&bridge, "fleet_bridge_streams_ended_total", r#"reason="not_found""#, 1.0).await;
    let log = bridge.logged("this queue is not consumed").await;
    assert!(log.contains("deleted or moved"), "{log}");
    publisher.publish(&other, &states(0..5)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &other, 5.0).await;

    publisher.declare_as(&queue, Kind::Quorum).await;
    publisher.publish(&queue, &states(5..10)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &queue, 5.0).await;
    bridge.readiness(200).await;
    bridge.logged("this queue is consumed again").await;
    assert_eq!(rig.bodies().await.len(), 10);
    assert_eq!(total(&bridge, "fleet_bridge_connections_failed_total", "").await, 0.0, "one queue only");
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_waited_for() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let rig = Rig::new();
    let mut bridge = Program::start(&mut rig.command(broker, &["nobody-has-declared-this"]));
    let log = bridge.logged("this queue is not consumed").await;
    assert!(log.contains("check FLEET_AMQP__QUEUES"), "{log}");
    bridge.readiness(503).await;
    publisher.declare_as("nobody-has-declared-this", Kind::Quorum).await;
    publisher.publish("nobody-has-declared-this", &states(0..3)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3.0).await;
    bridge.readiness(200).await;
    publisher.delete("nobody-has-declared-this").await;
}

/// The broker closes the channel with 406 if messages stay unacknowledged for too long.
#[tokio::test]
async fn a_channel_that_the_broker_closes_is_opened_again_when_redis_responds() {
    let broker = Broker::impatient(1500).await;
    let publisher = broker.publisher().await;
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    let mut bridge = rig.consuming(&broker, &[&queue]).await;
    redis.pause().unwrap();
    let published = states(0..20);
    publisher.publish(&queue, &published).await;
    reaches(&bridge, "fleet_bridge_streams_ended_total", r#"reason="precondition""#, 1.0).await;
    bridge.readiness(503).await;
    publisher.left(&queue, 20).await;
    assert_eq!(total(&bridge, "fleet_bridge_connections_failed_total", "").await, 0.0);

    redis.resume().unwrap();
    rig.all_pushed(&published).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 20.0).await;
    bridge.readiness(200).await;
    let ended = total(&bridge, "fleet_bridge_streams_ended_total", "").await;
    assert!(ended <= 2.0, "it did not consume while Redis was away: {ended}");
}

#[tokio::test]
async fn a_silent_queue_is_asked_about_and_nothing_else_happens() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let proxy = Proxy::start(broker.rabbit.port()).unwrap();
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let url = RabbitMq::url_at(AmqpLogin::Consumer, proxy.port());
    let mut command = rig.command_to(broker, &url, &[&queue]);
    let mut bridge = Program::start(command.env("FLEET_AMQP__CHECK_INTERVAL", "20ms"));
    bridge.readiness(200).await;
    // Each question opens and closes a channel. Heartbeats alone would take more than an hour for so many bytes.
    let before = proxy.passed_bytes();
    eventually("many questions", async || (proxy.passed_bytes() > before + 50_000).then_some(())).await;
    publisher.publish(&queue, &states(0..1)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 1.0).await;
    bridge.readiness(200).await;
    for metric in ["fleet_bridge_streams_ended_total", "fleet_bridge_connections_failed_total"] {
        assert_eq!(total(&bridge, metric, "").await, 0.0, "{metric}");
    }
}

/// As a quorum queue without a leader.
#[tokio::test]
async fn a_queue_that_does_not_respond_disturbs_no_other() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let rig = Rig::new();
    let (stuck, other) = (publisher.declare(Kind::Quorum).await, publisher.declare(Kind::Quorum).await);
    let process = |what: &str| format!("sys:{what}('customer_{stuck}').");
    let (stop, start) = (process("suspend"), process("resume"));
    let broker = broker.control(move |rabbit| drop(rabbit.ctl(&["eval", &stop]).unwrap())).await;
    let mut command = rig.command(&broker, &[&stuck, &other]);
    // A consumer that the broker may start late counts as one that returns messages.
    let short = [("FLEET_AMQP__TIMEOUT", "1s"), ("FLEET_AMQP__ABORT_PAUSE", "500ms")];
    let mut bridge = Program::start(command.envs(short));
    reaches(&bridge, "fleet_bridge_streams_ended_total", r#"reason="timeout""#, 2.0).await;
    publisher.publish(&other, &states(0..5)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &other, 5.0).await;
    bridge.readiness(503).await;
    assert_eq!(total(&bridge, "fleet_bridge_connections_failed_total", "").await, 0.0);
    assert_eq!(total(&bridge, "fleet_bridge_redelivered_messages_total", "").await, 0.0);

    let _broker = broker.control(move |rabbit| drop(rabbit.ctl(&["eval", &start]).unwrap())).await;
    bridge.readiness(200).await;
    publisher.publish(&stuck, &states(5..10)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", &stuck, 5.0).await;
}

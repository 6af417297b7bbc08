//! A broker that restarts, swallows packets, or rejects the login.

use fleet_testbed::{AmqpLogin, Proxy, RabbitMq, Redis};
use rustix::process::Signal;

use super::broker::{Broker, KINDS, Kind, states};
use super::rig::{Rig, reaches, total};
use crate::process::program::Program;
use crate::tls::authority::Authority;

#[tokio::test]
async fn a_broker_that_restarts_loses_nothing() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let rig = Rig::new();
    let (quorum, classic) = (publisher.declare(Kind::Quorum).await, publisher.declare(Kind::Classic).await);
    let mut bridge = rig.consuming(&broker, &[&quorum, &classic]).await;
    publisher.publish(&quorum, &states(0..500)).await;
    publisher.publish(&classic, &states(500..1000)).await;
    drop(publisher);

    let broker = broker
        .control(|rabbit| {
            rabbit.sync_queues().unwrap();
            rabbit.kill().unwrap();
        })
        .await;
    bridge.readiness(503).await;
    bridge.logged("no connection to the broker: retrying").await;
    assert_eq!(bridge.status("/livez").await, Some(200), "a restart does not help");
    let broker = broker.control(|rabbit| rabbit.restart().unwrap()).await;
    bridge.readiness(200).await;
    bridge.logged("connected to the broker again").await;
    let publisher = broker.publisher().await;
    publisher.publish(&quorum, &states(1000..1010)).await;
    crate::support::eventually("everything to be pushed", async || {
        (rig.bodies().await.len() == 1010).then_some(())
    })
    .await;
    bridge.signal(Signal::TERM);
    assert_eq!(bridge.ended().await.code, Some(0));
    publisher.left(&quorum, 0).await;
    publisher.left(&classic, 0).await;
}

#[tokio::test]
async fn a_cut_connection_is_opened_again() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    for kind in KINDS {
        let proxy = Proxy::start(broker.rabbit.port()).unwrap();
        let (rig, queue) = (Rig::new(), publisher.declare(kind).await);
        let url = RabbitMq::url_at(AmqpLogin::Consumer, proxy.port());
        let mut bridge = Program::start(&mut rig.command_to(broker, &url, &[&queue]));
        bridge.readiness(200).await;
        for cut in 0..4 {
            publisher.publish(&queue, &states(cut * 10..cut * 10 + 10)).await;
            proxy.cut();
            let failed = f64::from(u32::try_from(cut).unwrap()) + 1.0;
            reaches(&bridge, "fleet_bridge_connections_failed_total", "", failed).await;
            bridge.readiness(200).await;
        }
        reaches(&bridge, "fleet_bridge_acked_messages_total", "", 40.0).await;
        crate::support::eventually("all to be pushed", async || {
            (rig.bodies().await.len() == 40).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_network_that_swallows_packets_is_noticed_without_any_message() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let proxy = Proxy::start(broker.rabbit.port()).unwrap();
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let url = RabbitMq::url_at(AmqpLogin::Consumer, proxy.port());
    let mut bridge = Program::start(&mut rig.command_to(broker, &url, &[&queue]));
    bridge.readiness(200).await;
    proxy.black_hole();
    publisher.publish(&queue, &states(0..10)).await;
    bridge.readiness(503).await;
    // New connections are accepted and get no response.
    reaches(&bridge, "fleet_bridge_connections_failed_total", r#"reason="timeout""#, 2.0).await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", bridge.id())).unwrap().count();
    assert!(threads < 10, "attempts that were given up have left {threads} threads");
    assert_eq!(bridge.status("/livez").await, Some(200));
    proxy.heal();
    proxy.cut();
    bridge.readiness(200).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 10.0).await;
    assert_eq!(rig.bodies().await.len(), 10);
}

#[tokio::test]
async fn a_paused_broker_is_noticed() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let mut bridge = rig.consuming(&broker, &[&queue]).await;
    let broker = broker.control(|rabbit| rabbit.pause().unwrap()).await;
    bridge.readiness(503).await;
    let broker = broker.control(|rabbit| rabbit.resume().unwrap()).await;
    bridge.readiness(200).await;
    broker.publisher().await.publish(&queue, &states(0..1)).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 1.0).await;
}

#[tokio::test]
async fn a_wrong_password_can_be_put_right() {
    let broker = Broker::own().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    publisher.publish(&queue, &states(0..3)).await;
    let (user, password) = AmqpLogin::Consumer.credentials();
    let url = broker.url().replace(password, "the-next-password");
    let mut bridge = Program::start(&mut rig.command_to(&broker, &url, &[&queue]));
    let log = bridge.logged("no connection to the broker: retrying").await;
    assert!(log.contains("check user, password, vhost"), "{log}");
    assert!(!log.contains("the-next-password"), "{log}");
    reaches(&bridge, "fleet_bridge_connections_failed_total", r#"reason="refused""#, 2.0).await;
    bridge.readiness(503).await;
    let change = move |rabbit: &mut RabbitMq| {
        rabbit.ctl(&["change_password", user, "the-next-password"]).unwrap();
    };
    let _broker = broker.control(change).await;
    bridge.readiness(200).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3.0).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let broker = Broker::shared().await;
    let rig = Rig::new();
    let other = Authority::new();
    let mut command = rig.command(broker, &["states"]);
    let mut bridge = Program::start(command.env("FLEET_AMQP__CA_FILE", other.file()));
    reaches(&bridge, "fleet_bridge_connections_failed_total", r#"reason="tls""#, 1.0).await;
    let log = bridge.logged("certificate is not trusted").await;
    assert!(!log.contains(AmqpLogin::Consumer.credentials().1), "{log}");
    bridge.readiness(503).await;
}

/// A broker counts each return of a message, and quorum queues discard it after 20.
#[tokio::test]
async fn consumers_that_only_return_messages_become_rare() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let proxy = Proxy::start(broker.rabbit.port()).unwrap();
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    // Redis responds, and takes no push.
    redis.command(&["SET", "ballast", &"x".repeat(2 << 20)]).unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "2mb"]).unwrap();
    let url = RabbitMq::url_at(AmqpLogin::Consumer, proxy.port());
    let mut command = rig.command_to(broker, &url, &[&queue]);
    let bridge = Program::start(command.env("FLEET_AMQP__ABORT_PAUSE", "4s"));
    publisher.publish(&queue, &states(0..10)).await;
    for aborts in 1..=3_u32 {
        reaches(&bridge, "fleet_bridge_unacked_messages", "", 10.0).await;
        proxy.cut();
        reaches(&bridge, "fleet_bridge_streams_ended_total", "", f64::from(aborts)).await;
    }
    bridge.logged("consumers of this queue have ended several times in a row").await;
    assert!(total(&bridge, "fleet_bridge_abort_pause_seconds", "").await >= 2.0);
    // The broker notices the end of the connection a moment later than the bridge.
    publisher.left(&queue, 10).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1gb"]).unwrap();
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 10.0).await;
    assert!(total(&bridge, "fleet_bridge_redelivered_messages_total", "").await >= 10.0);
    assert_eq!(rig.bodies().await.len(), 10);
}

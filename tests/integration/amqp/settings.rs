//! The bridge's command line and settings.

use fleet_testbed::{Redis, RedisOptions};

use super::broker::{Broker, Kind, states};
use super::rig::{Rig, reaches};
use crate::process::program::{Program, Site, run};
use crate::tls::authority::HERE;

#[tokio::test]
async fn wrong_settings_are_refused_at_once() {
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    let ended = run(&mut site.bridge(&[])).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for variable in ["FLEET_AMQP__URL", "FLEET_AMQP__QUEUES"] {
        assert!(ended.errors.contains(variable), "{ended:?}");
    }
    let mut wrong = site.bridge(&["check-config"]);
    wrong.env("FLEET_AMQP__URL", "amqps://user:hunter2@broker:x/").env("FLEET_AMQP__HEARTBEAT", "10ms");
    let ended = run(&mut wrong).await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.errors.contains("FLEET_AMQP__HEARTBEAT"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}

#[tokio::test]
async fn check_config_shows_no_password() {
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    let mut command = site.bridge(&["check-config"]);
    command
        .env("FLEET_AMQP__URL", "amqps://user:hunter2@broker:5671/customer")
        .env("FLEET_AMQP__QUEUES", "a,b");
    let ended = run(&mut command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("FLEET_AMQP__URL=amqps://[redacted]@broker:5671/customer"), "{ended:?}");
    assert!(ended.output.contains("FLEET_AMQP__QUEUES=a,b"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}

/// One CA for Redis and the broker, as with a broker of one's own.
#[tokio::test]
async fn redis_and_the_broker_may_share_a_ca() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let options = RedisOptions { tls: Some(broker.authority.issue(HERE)), ..RedisOptions::default() };
    let redis = tokio::task::spawn_blocking(|| Redis::private_with(options).unwrap()).await.unwrap();
    let (mut rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    rig.site.ca_file = Some(broker.authority.file());
    publisher.publish(&queue, &states(0..3)).await;
    let mut command = rig.command(broker, &[&queue]);
    let bridge = Program::start(command.env_remove("FLEET_AMQP__CA_FILE"));
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3.0).await;
    let mut health = rig.site.bridge(&["health"]);
    health.env("FLEET_ADMIN__LISTEN", bridge.admin_address());
    assert_eq!(run(&mut health).await.code, Some(0));
}

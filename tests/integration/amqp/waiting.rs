//! While Redis takes nothing, messages stay unacknowledged. None is returned to the broker.

use fleet_testbed::Redis;

use super::broker::{Broker, KINDS, Kind, states};
use super::rig::{Rig, reaches, total};
use crate::process::program::Program;
use crate::support::eventually;

/// A Redis at `maxmemory` that this value cannot make any room in.
const FULL: &str = "2mb";

async fn redis(extra: &'static [&'static str]) -> Redis {
    tokio::task::spawn_blocking(|| Redis::private(extra).unwrap()).await.unwrap()
}

async fn restarted(mut redis: Redis) -> Redis {
    let restart = move || {
        redis.restart().unwrap();
        redis
    };
    tokio::task::spawn_blocking(restart).await.unwrap()
}

/// How often a Redis has executed a command.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]).unwrap().concat();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// Nothing was returned to the broker, and no consumer or connection has ended.
async fn assert_nothing_returned(bridge: &Program) {
    for metric in [
        "fleet_bridge_redelivered_messages_total",
        "fleet_bridge_streams_ended_total",
        "fleet_bridge_connections_failed_total",
    ] {
        assert_eq!(total(bridge, metric, "").await, 0.0, "{metric}");
    }
}

#[tokio::test]
async fn redis_is_away_and_comes_back() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    for kind in KINDS {
        let mut redis = redis(&[]).await;
        let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(kind).await);
        let mut bridge = rig.consuming(broker, &[&queue]).await;
        redis.kill().unwrap();
        let published = states(0..1500);
        publisher.publish(&queue, &published).await;
        reaches(&bridge, "fleet_bridge_unacked_messages", "", 1000.0).await;
        bridge.logged("pushes to Redis fail: the messages stay unacknowledged at the broker").await;
        assert_eq!(total(&bridge, "fleet_bridge_acked_messages_total", "").await, 0.0);
        assert_eq!(publisher.counts(&queue).await, (500, 1), "the rest of the prefetch stays at the broker");
        bridge.readiness(200).await;

        let redis = restarted(redis).await;
        rig.all_pushed(&published).await;
        reaches(&bridge, "fleet_bridge_acked_messages_total", "", 1500.0).await;
        assert_nothing_returned(&bridge).await;
        bridge.logged("pushes to Redis succeed again").await;
        drop(redis);
    }
}

#[tokio::test]
async fn nothing_is_consumed_before_redis_responds() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let mut redis = redis(&[]).await;
    redis.kill().unwrap();
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    publisher.publish(&queue, &states(0..3)).await;
    let mut bridge = Program::start(&mut rig.command(broker, &[&queue]));
    bridge.logged("waiting for Redis").await;
    bridge.logged("pushes to Redis fail").await;
    bridge.readiness(503).await;
    assert_eq!(publisher.counts(&queue).await, (3, 0));
    let _redis = restarted(redis).await;
    bridge.readiness(200).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3.0).await;
    assert_nothing_returned(&bridge).await;
}

#[tokio::test]
async fn redis_is_full_and_has_room_again() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let redis = redis(&[]).await;
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    redis.command(&["SET", "ballast", &"x".repeat(2 << 20)]).unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", FULL]).unwrap();
    let bridge = rig.consuming(broker, &[&queue]).await;
    let published = states(0..100);
    publisher.publish(&queue, &published).await;
    reaches(&bridge, "fleet_bridge_redis_errors_total", r#"kind="oom""#, 1.0).await;
    reaches(&bridge, "fleet_bridge_unacked_messages", "", 100.0).await;
    assert_eq!(total(&bridge, "fleet_bridge_acked_messages_total", "").await, 0.0);
    redis.command(&["CONFIG", "SET", "maxmemory", "1gb"]).unwrap();
    rig.all_pushed(&published).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 100.0).await;
    assert_nothing_returned(&bridge).await;
}

#[tokio::test]
async fn a_backlog_above_its_cap_stops_pushes_until_there_is_room() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let (rig, queue) = (Rig::new(), publisher.declare(Kind::Quorum).await);
    let mut command = rig.command(broker, &[&queue]);
    command
        .env("FLEET_PROVIDERS__INVERS__MAX_BACKLOG_BYTES", "20000")
        .env("FLEET_API__COMMIT_MAX_MESSAGES", "10");
    let bridge = Program::start(&mut command);
    let published = states(0..200);
    publisher.publish(&queue, &published).await;
    reaches(&bridge, "fleet_bridge_shedding", "", 1.0).await;
    reaches(&bridge, "fleet_bridge_unacked_messages", "", 50.0).await;
    let before = rig.pushed().await.len();
    assert!(before < 150, "{before}");
    bridge.logged("backlog above its cap: leaving messages unacknowledged at the broker").await;

    // As if consumers had settled everything, again and again.
    let key = format!("{}:{{invers}}:ledger", rig.site.prefix);
    let client = redis::Client::open(rig.site.redis.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    eventually("everything to be pushed", async || {
        for unit in ["messages", "bytes"] {
            let accepted: i64 = redis::cmd("HGET")
                .arg(&key)
                .arg(format!("accepted_{unit}"))
                .query_async(&mut connection)
                .await
                .unwrap();
            for counter in ["claimed", "settled"] {
                let mut set = redis::cmd("HSET");
                set.arg(&key).arg(format!("{counter}_{unit}")).arg(accepted);
                set.query_async::<()>(&mut connection).await.unwrap();
            }
        }
        (rig.bodies().await.len() == published.len()).then_some(())
    })
    .await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 200.0).await;
    assert_nothing_returned(&bridge).await;
}

#[tokio::test]
async fn an_unconfirmed_push_is_not_acknowledged() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let redis = redis(&[]).await;
    let (rig, queue) = (Rig::on(&redis.url()), publisher.declare(Kind::Quorum).await);
    publisher.publish(&queue, &states(0..3)).await;
    let mut command = rig.command(broker, &[&queue]);
    // There is no replica, so nothing is ever confirmed, and nothing is pushed.
    let bridge = Program::start(command.env("FLEET_QUEUE__REPLICAS", "1"));
    bridge.logged("no push can be confirmed, so messages stay unacknowledged at the broker").await;
    reaches(&bridge, "fleet_bridge_redis_replicas_missing", "", 1.0).await;
    // Each attempt writes nothing and asks who has it.
    eventually("several attempts", async || (calls(&redis, "hincrby") >= 3).then_some(())).await;
    assert_eq!((rig.pushed().await.len(), publisher.counts(&queue).await), (0, (3, 0)));
}

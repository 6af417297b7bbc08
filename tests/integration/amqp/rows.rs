//! From the broker to SQL: the API, the bridge and a consumer together.

use fleet_testbed::Redis;

use super::broker::{Broker, Kind, state, states};
use super::rig::{Rig, reaches};
use crate::process::program::Program;
use crate::support::{Fleet, TOKEN, TestDatabase};

/// The bridge beside a running API and consumer.
async fn bridge_beside(fleet: &Fleet, broker: &Broker, queue: &str) -> Program {
    let mut rig = Rig::new();
    rig.site.prefix.clone_from(&fleet.settings.queue.prefix);
    let mut command = rig.command(broker, &[queue]);
    Program::start(command.env("FLEET_PROVIDERS__INVERS__MAX_BODY_BYTES", "50000"))
}

async fn count(database: &TestDatabase, query: &str) -> i64 {
    database.client().await.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn an_event_that_comes_both_ways_is_one_row() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    for (number, kind) in [(1, Kind::Quorum), (2, Kind::Classic)] {
        let (queue, event) = (publisher.declare(kind).await, state(number));
        let bridge = bridge_beside(&fleet, broker, &queue).await;
        let url = format!("{}/webhooks/invers", fleet.api);
        let post = async || {
            let request = reqwest::Client::new().post(&url).bearer_auth(TOKEN).body(event.clone());
            assert_eq!(request.send().await.unwrap().status(), 200);
        };
        post().await;
        publisher.publish(&queue, &[&event, &event]).await;
        reaches(&bridge, "fleet_bridge_acked_messages_total", "", 2.0).await;
        post().await;
        fleet.settled().await;
        let rows = format!(
            "SELECT count(*) FROM telemetry JOIN vehicles USING (vehicle_id) WHERE provider_vehicle_id = 'AMQP{number}'"
        );
        assert_eq!(count(&database, &rows).await, 1, "{kind:?}");
    }
    assert_eq!(count(&database, "SELECT count(*) FROM vehicles").await, 2);
    assert_eq!(count(&database, "SELECT count(*) FROM dead_letters").await, 0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_parsed_or_is_too_large_is_a_dead_letter() {
    let broker = Broker::shared().await;
    let publisher = broker.publisher().await;
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start(&database).await;
    let queue = publisher.declare(Kind::Quorum).await;
    let bridge = bridge_beside(&fleet, broker, &queue).await;
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(100_000));
    publisher.publish(&queue, &["no JSON", &large, &state(3)]).await;
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 3.0).await;
    fleet.settled().await;
    let client = database.client().await;
    let rows = client.query("SELECT reason FROM dead_letters ORDER BY reason", &[]).await.unwrap();
    let letters: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(letters, ["too_large", "unparsable"]);
    assert_eq!(count(&database, "SELECT count(*) FROM telemetry").await, 1);
    fleet.stop().await;
}

/// Redis has a push whose reply comes too late, and meanwhile the broker closes the channel.
#[tokio::test]
async fn a_message_whose_channel_closes_between_its_push_and_its_ack_is_one_row() {
    let broker = Broker::impatient(1500).await;
    let publisher = broker.publisher().await;
    let database = TestDatabase::migrated().await;
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let urls = [("FLEET_DATABASE_URL", database.url()), ("FLEET_REDIS_URL", &redis.url())];
    let mut fleet = Fleet::api_only(&urls).await;
    let mut rig = Rig::on(&redis.url());
    rig.site.prefix.clone_from(&fleet.settings.queue.prefix);
    let queue = publisher.declare(Kind::Quorum).await;
    let bridge = rig.consuming(&broker, &[&queue]).await;
    redis.pause().unwrap();
    publisher.publish(&queue, &states(0..20)).await;
    reaches(&bridge, "fleet_bridge_streams_ended_total", r#"reason="precondition""#, 1.0).await;
    // Redis executes what has arrived meanwhile, although the bridge has given it up.
    redis.resume().unwrap();
    reaches(&bridge, "fleet_bridge_acked_messages_total", "", 20.0).await;
    let pushed = rig.pushed().await.len();
    assert!(
        pushed > 20,
        "no message was pushed before the channel was closed and again after that: {pushed}"
    );
    fleet.start_consumer();
    fleet.settled().await;
    assert_eq!(count(&database, "SELECT count(*) FROM telemetry").await, 20);
    assert_eq!(count(&database, "SELECT count(*) FROM dead_letters").await, 0);
    fleet.stop().await;
}

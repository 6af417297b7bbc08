//! The admin listener: liveness, readiness, metrics.

use std::time::{Duration, Instant};

use fleet_testbed::Redis;

use super::program::{Program, Site, binary, report, run};
use crate::support::{TOKEN, TestDatabase, eventually};

#[tokio::test]
async fn the_api_is_ready_once_redis_was_reached_and_stays_so() {
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let mut site = Site::new("postgres://nobody@127.0.0.1:1/none");
    site.redis = redis.url();
    redis.kill().unwrap();

    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(503).await;
    assert_eq!(api.status("/livez").await, Some(200));

    let mut redis = tokio::task::spawn_blocking(move || {
        redis.restart().unwrap();
        redis
    })
    .await
    .unwrap();
    api.readiness(200).await;

    redis.kill().unwrap();
    let refused = eventually("the API to notice", async || {
        let posted = post(&api, 1).await;
        (posted != 200).then_some(posted)
    })
    .await;
    assert_eq!(refused, 503);
    assert_eq!(
        api.status("/readyz").await,
        Some(200),
        "one Redis must not take every replica out of service"
    );
}

#[tokio::test]
async fn the_consumer_is_ready_once_the_database_is_migrated() {
    let database = TestDatabase::empty().await;
    let site = Site::new(database.url());
    let mut consumer = Program::start(&mut site.consumer(&[]));
    consumer.readiness(503).await;
    assert_eq!(consumer.status("/livez").await, Some(200));
    let migrated = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    consumer.readiness(200).await;
}

#[tokio::test]
async fn the_health_command_asks_the_program_beside_it() {
    let database = TestDatabase::empty().await;
    let site = Site::new(database.url());
    let mut command = site.consumer(&[]);
    let mut health = binary("fleet-consumer", &["health"]);
    for (name, value) in command.get_envs() {
        health.env(name, value.unwrap());
    }
    let absent = run(&mut health).await;
    assert_eq!(absent.code, Some(1), "{absent:?}");

    let mut consumer = Program::start(&mut command);
    consumer.readiness(503).await;
    let starting = run(&mut health).await;
    assert_eq!(starting.code, Some(1), "{starting:?}");
    assert!(starting.errors.contains("503"), "{starting:?}");

    assert_eq!(run(&mut site.consumer(&["migrate"])).await.code, Some(0));
    consumer.readiness(200).await;
    let ready = run(&mut health).await;
    assert_eq!(ready.code, Some(0), "{ready:?}");
}

#[tokio::test]
async fn the_health_command_reaches_who_listens_everywhere() {
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    let port = fleet_testbed::free_port().unwrap();
    for everywhere in [format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        let mut api = Program::start(site.api(&[]).env("FLEET_ADMIN__LISTEN", &everywhere));
        eventually(&format!("{everywhere} to be healthy"), async || {
            api.assert_running();
            let health = run(site.api(&["health"]).env("FLEET_ADMIN__LISTEN", &everywhere)).await;
            (health.code == Some(0)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn metrics_say_what_happened() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    assert_eq!(post(&api, 1).await, 200);
    assert_eq!(post(&api, 2).await, 200);
    let forged = client().post(api.webhooks()).body(report(3)).send().await.unwrap();
    assert_eq!(forged.status(), 401);

    for (outcome, count) in [("accepted", 2.0), ("unauthorized", 1.0)] {
        let series = format!(r#"fleet_api_webhooks_total{{provider="niu",outcome="{outcome}"}}"#);
        assert_eq!(api.metric(&series).await, count, "{series}");
    }
    for (series, count) in [
        (r#"fleet_api_webhook_duration_seconds_bucket{provider="niu",outcome="accepted",le="+Inf"}"#, 2.0),
        (r#"fleet_api_commit_messages_sum{provider="niu"}"#, 2.0),
        (r#"fleet_api_shedding{provider="niu",queue="niu"}"#, 0.0),
    ] {
        assert_eq!(api.metric(series).await, count, "{series}");
    }

    let mut consumer = Program::start(site.consumer(&[]).env("FLEET_CONSUMER__STATUS_INTERVAL", "50ms"));
    consumer.readiness(200).await;
    site.settled().await;
    for (series, count) in [
        (r#"fleet_consumer_events_total{provider="niu",outcome="inserted"}"#, 2.0),
        (r#"fleet_consumer_messages_total{provider="niu",outcome="applied"}"#, 2.0),
        (r#"fleet_consumer_batch_messages_sum{provider="niu"}"#, 2.0),
        (r#"fleet_consumer_new_vehicles_total{provider="niu"}"#, 2.0),
        (r#"fleet_queue_backlog_messages{queue="niu"}"#, 0.0),
        (r#"fleet_queue_oldest_age_seconds{queue="niu",state="waiting"}"#, 0.0),
        (r#"fleet_queue_ledger_balanced{queue="niu"}"#, 1.0),
    ] {
        eventually(&format!("{series} {count}"), async || {
            (consumer.metric(series).await == count).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_age_of_the_oldest_message_grows_while_nothing_can_be_stored() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE telemetry").await.unwrap();
    site.fill(1).await;
    let mut consumer = Program::start(site.consumer(&[]).env("FLEET_CONSUMER__STATUS_INTERVAL", "50ms"));
    consumer.readiness(200).await;
    let series = r#"fleet_queue_oldest_age_seconds{queue="niu",state="leased"}"#;
    eventually("the leased message to age", async || (consumer.metric(series).await > 0.2).then_some(()))
        .await;
    assert_eq!(consumer.metric(r#"fleet_queue_backlog_messages{queue="niu"}"#).await, 1.0);
    blocking.rollback().await.unwrap();
    eventually("the age to fall", async || (consumer.metric(series).await == 0.0).then_some(())).await;
}

/// Several times the longest timeout of a call in these outages.
const OUTAGE: Duration = Duration::from_secs(6);
/// A task counts as hung after a minute of silence beyond its longest wait, which is too long for a test. But if a task
/// is never silent for longer than that wait, it never counts as hung, however long the outage is.
const LONGEST_SILENCE_S: f64 = 3.0;

/// Asserts that during an outage the process stays alive and its tasks do not fall silent.
async fn assert_alive_through_an_outage(program: &Program) {
    let end = Instant::now() + OUTAGE;
    while Instant::now() < end {
        assert_eq!(program.status("/livez").await, Some(200));
        let silence_s = program.metric("fleet_runtime_task_silence_seconds ").await;
        assert!(silence_s < LONGEST_SILENCE_S, "a task was silent for {silence_s} s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_redis_that_does_not_reply_is_no_hang() {
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let database = TestDatabase::migrated().await;
    let mut site = Site::new(database.url());
    site.redis = redis.url();
    let short = [("FLEET_QUEUE__TIMEOUT", "500ms"), ("FLEET_CONSUMER__RETRY_MAX", "500ms")];
    let mut api = Program::start(site.api(&[]).envs(short));
    let mut consumer = Program::start(
        site.consumer(&[])
            .envs(short)
            .env("FLEET_CONSUMER__STATUS_INTERVAL", "500ms")
            .env("FLEET_DATABASE__STATEMENT_TIMEOUT", "1s"),
    );
    for program in [&mut api, &mut consumer] {
        program.readiness(200).await;
    }
    assert_eq!(post(&api, 1).await, 200);
    site.settled().await;

    redis.pause().unwrap();
    let posting = async {
        let end = Instant::now() + OUTAGE;
        while Instant::now() < end {
            assert_eq!(post(&api, 2).await, 503);
        }
    };
    tokio::join!(assert_alive_through_an_outage(&api), assert_alive_through_an_outage(&consumer), posting);
    redis.resume().unwrap();
    eventually("webhooks to be taken again", async || (post(&api, 3).await == 200).then_some(())).await;
}

#[tokio::test]
async fn a_database_that_takes_nothing_is_no_hang() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE telemetry").await.unwrap();
    site.fill(5).await;
    let mut consumer = Program::start(
        site.consumer(&[])
            .env("FLEET_DATABASE__STATEMENT_TIMEOUT", "1s")
            .env("FLEET_CONSUMER__RETRY_MAX", "500ms"),
    );
    consumer.readiness(200).await;
    let retries = r#"fleet_consumer_database_retries_total{side="telemetry",class="57"}"#;
    eventually("the first try to fail", async || (consumer.metric(retries).await > 0.0).then_some(())).await;
    assert_alive_through_an_outage(&consumer).await;
    blocking.rollback().await.unwrap();
    site.settled().await;
}

fn client() -> reqwest::Client {
    reqwest::Client::new()
}

async fn post(api: &Program, number: usize) -> u16 {
    let request = client().post(api.webhooks()).header("token", TOKEN).body(report(number));
    request.send().await.unwrap().status().as_u16()
}

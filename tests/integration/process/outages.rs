//! The log lines of an outage: one when it begins, one a minute, and one when it is over.

use fleet_testbed::{Postgres, Redis};
use serde_json::Value;
use tokio::net::TcpListener;

use super::program::{Program, Site, report, run};
use crate::support::{DEADLINE, TOKEN, TestDatabase, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";
const JSON: (&str, &str) = ("FLEET_LOG_FORMAT", "json");
/// Retries that follow each other within a second.
const OFTEN: [(&str, &str); 1] = [("FLEET_CONSUMER__RETRY_MAX", "100ms")];
const FAILURES: u64 = 25;
const QUEUES: usize = fleet_providers::PROVIDERS.len();

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn private_redis() -> Redis {
    blocking(|| Redis::private(&[]).unwrap()).await
}

async fn restarted(mut redis: Redis) -> Redis {
    blocking(move || {
        redis.restart().unwrap();
        redis
    })
    .await
}

/// The complete lines of a JSON log.
async fn log(program: &Program) -> Vec<Value> {
    let log = program.logged("").await;
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The lines with this message.
async fn saying(program: &Program, message: &str) -> Vec<Value> {
    log(program).await.into_iter().filter(|line| line["message"] == message).collect()
}

async fn said(program: &Program, message: &str, lines: usize) -> Vec<Value> {
    eventually(&format!("{lines} lines: {message}"), async || {
        let found = saying(program, message).await;
        (found.len() >= lines).then_some(found)
    })
    .await
}

/// The sum of a metric's series.
async fn sum(program: &Program, metric: &str) -> f64 {
    let (_status, text) = program.get("/metrics").await.unwrap();
    let series = text.lines().filter(|line| line.starts_with(metric));
    series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

async fn grown(program: &Program, metric: &str) {
    let before = sum(program, metric).await;
    let enough = f64::from(u32::try_from(FAILURES).unwrap());
    eventually(&format!("{metric} to grow"), async || {
        (sum(program, metric).await >= before + enough).then_some(())
    })
    .await;
}

async fn post(api: &Program) -> u16 {
    let posted = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(1));
    posted.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_redis_that_takes_no_pushes_is_two_lines_in_the_api() {
    const FAILED: &str =
        "pushes to Redis fail: answering 503; message_id is the first message of the latest push";
    let mut redis = private_redis().await;
    let mut site = Site::new(NO_DATABASE);
    site.redis = redis.url();
    let mut api = Program::start(site.api(&[]).envs([JSON]));
    api.readiness(200).await;
    redis.kill().unwrap();
    for _ in 0..FAILURES {
        assert_eq!(post(&api).await, 503);
    }
    let redis = restarted(redis).await;
    eventually("webhooks to be taken", async || (post(&api).await == 200).then_some(())).await;

    let over = said(&api, "pushes to Redis succeed again", 1).await;
    assert_eq!((over.len(), &over[0]["provider"]), (1, &"niu".into()), "{over:?}");
    assert!(over[0]["messages"].as_u64().unwrap() >= FAILURES && over[0]["seconds"].is_u64(), "{over:?}");
    let failed = saying(&api, FAILED).await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    let shed = sum(&api, r#"fleet_api_shed_total{provider="niu",reason="redis_unavailable"}"#).await;
    assert_eq!(Some(shed), over[0]["messages"].as_f64(), "every failure is counted");
    drop(redis);
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_the_start_is_two_lines_in_the_api() {
    let mut redis = private_redis().await;
    let mut site = Site::new(NO_DATABASE);
    site.redis = redis.url();
    redis.kill().unwrap();
    let mut api = Program::start(site.api(&[]).envs([JSON]));
    api.readiness(503).await;
    eventually("Redis to be tried a few times", async || {
        (sum(&api, "fleet_api_redis_errors_total").await >= 4.0).then_some(())
    })
    .await;
    let _redis = restarted(redis).await;
    api.readiness(200).await;
    let over = said(&api, "Redis responds", 1).await;
    assert!(over[0]["failures"].as_u64().unwrap() >= 4, "{over:?}");
    assert_eq!(saying(&api, "waiting for Redis").await.len(), 1);
}

#[tokio::test]
async fn a_redis_that_is_gone_is_two_lines_a_queue_in_the_consumer() {
    let mut redis = private_redis().await;
    let database = TestDatabase::migrated().await;
    let mut site = Site::new(database.url());
    site.redis = redis.url();
    let mut consumer = Program::start(site.consumer(&[]).envs([JSON]));
    consumer.readiness(200).await;
    redis.kill().unwrap();
    grown(&consumer, "fleet_consumer_redis_errors_total").await;
    let _redis = restarted(redis).await;
    let over = said(&consumer, "calls to Redis succeed again", QUEUES).await;
    let failed = saying(&consumer, "a call to Redis failed: retrying").await;
    for lines in [&over, &failed] {
        assert_eq!(lines.len(), QUEUES, "{lines:?}");
    }
    let noise = warnings(&consumer).await;
    assert_eq!(noise.len(), QUEUES, "{noise:?}");
}

#[tokio::test]
async fn a_database_that_is_gone_is_a_few_lines_in_the_consumer() {
    let mut postgres = blocking(|| Postgres::private(&[]).unwrap()).await;
    let site = Site::new(&postgres.url());
    assert_eq!(run(&mut site.consumer(&["migrate"])).await.code, Some(0));
    let mut consumer = Program::start(site.consumer(&[]).envs(OFTEN).envs([JSON]));
    consumer.readiness(200).await;
    postgres.kill().unwrap();
    site.fill(50).await;
    grown(&consumer, "fleet_consumer_database_retries_total").await;
    let during = warnings(&consumer).await;
    assert!(during.len() <= 4, "for each side that it fails, and that batches are set aside: {during:?}");
    let failed = saying(&consumer, "the database did not accept a batch: retrying until it does").await;
    let sides: Vec<_> = failed.iter().map(|line| line["side"].as_str().unwrap()).collect();
    assert!(sides.len() == 2 && sides[0] != sides[1], "{sides:?}");

    let _postgres = blocking(move || {
        postgres.restart().unwrap();
        postgres
    })
    .await;
    site.settled().await;
    let over = said(&consumer, "the database accepts batches again", 2).await;
    let failures: u64 = over.iter().map(|line| line["failures"].as_u64().unwrap()).sum();
    assert!(over.len() == 2 && failures >= FAILURES, "{over:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_at_the_start_is_a_line_a_schema() {
    // A server that closes every connection, and so can count the attempts.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = Site::new(&format!("postgres://fleet@{}/none", listener.local_addr().unwrap()));
    let mut consumer = Program::start(site.consumer(&[]).envs(OFTEN).envs([JSON]));
    let tries = async {
        for _ in 0..FAILURES {
            drop(listener.accept().await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, tries).await.unwrap();
    consumer.readiness(503).await;
    let waiting = said(&consumer, "waiting for the database", 2).await;
    assert_eq!(waiting.len(), 2, "{waiting:?}");
}

async fn warnings(program: &Program) -> Vec<Value> {
    log(program).await.into_iter().filter(|line| line["level"] == "WARN").collect()
}

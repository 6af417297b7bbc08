//! Retention while consumers write.

use std::time::{Duration, Instant};

use fleet_consumer::connect::Databases;
use fleet_runtime::settings::load;
use fleet_store::{Retention, RetentionPeriods};
use jiff::Timestamp;
use tokio_postgres::Client;

use super::{buried, fail};
use crate::process::program::{Program, Site};
use crate::support::{TestDatabase, eventually};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long retention and the consumer run at the same time.
const TOGETHER: Duration = Duration::from_secs(12);

fn retention(url: &str) -> Retention {
    let variables = [
        ("FLEET_DATABASE_URL", url),
        ("FLEET_REDIS_URL", "redis://127.0.0.1"),
        ("FLEET_PROVIDERS__NIU__SECRETS", "secret"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let databases = Databases::new(&load(None, variables.into_iter()).unwrap()).unwrap();
    Retention::new(databases.state, databases.telemetry)
}

fn periods(telemetry: Duration) -> RetentionPeriods {
    RetentionPeriods { telemetry, dead_letters: 30 * DAY, settled_batches: 30 * DAY }
}

#[tokio::test]
async fn a_deadlock_of_retention_is_retried() {
    let test = TestDatabase::migrated().await;
    let client = test.client().await;
    let letter =
        "INSERT INTO dead_letters (message_id, event_index, provider, reason, detail, envelope, last_dead_at)
                  VALUES (gen_random_uuid(), -1, 'niu', 'unparsable', '', '', now() - interval '100 days')";
    client.batch_execute(letter).await.unwrap();
    fail(&client, "DELETE", "dead_letters", "40P01", 3).await;
    let retention = retention(test.url());
    let expired = retention.expire(periods(90 * DAY)).await.unwrap();
    assert_eq!(expired.dead_letters, 1);
    // The number of retries is limited.
    client.batch_execute(letter).await.unwrap();
    fail(&client, "DELETE", "dead_letters", "40P01", 1_000_000).await;
    let error = retention.expire(periods(90 * DAY)).await.unwrap_err();
    assert!(error.to_string().contains("40P01"), "{error}");
}

/// Reports that are this many days old, of 40 vehicles a day.
fn old_reports(round: usize, days: std::ops::Range<i64>) -> Vec<String> {
    let now = Timestamp::now().as_millisecond();
    let report = |vehicle: usize, day: i64| {
        let time = now - day * 86_400_000 + i64::try_from(round).unwrap();
        format!(
            r#"{{"sn":"OLD{vehicle}","type":"status","time":{time},"infoTimestamp":{time},"nowSpeed":7}}"#
        )
    };
    let days: Vec<_> = days.collect();
    days.iter().flat_map(|&day| (0..10).map(move |vehicle| report(vehicle, day))).collect()
}

async fn rows(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The consumer accepts reports that are up to 90 days old, and retention, in a loop, drops those older than 79 days.
/// So chunks are created and dropped all the time during the inserts.
#[tokio::test]
async fn chunks_may_go_while_old_events_come() {
    let test = TestDatabase::migrated().await;
    let client = test.client().await;
    let site = Site::new(test.url());
    let start = || Program::start(site.consumer(&[]).env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "100"));
    let mut consumers = [start(), start()];
    for consumer in &mut consumers {
        consumer.readiness(200).await;
    }
    let retention = retention(test.url());
    let started = Instant::now();
    let writing = async {
        let mut rounds = 0;
        while started.elapsed() < TOGETHER {
            site.fill_with(&old_reports(rounds, 76..88)).await;
            rounds += 1;
            // Wait for the consumer, so that the backlog stays short.
            eventually("the backlog to be short", async || {
                (site.queue().await.backlog().messages < 1000).then_some(())
            })
            .await;
        }
        rounds
    };
    let dropping = async {
        let mut dropped = 0;
        while started.elapsed() < TOGETHER {
            let expired = retention.expire(periods(79 * DAY)).await;
            dropped += expired.unwrap_or_else(|error| panic!("retention ended: {error}")).chunks;
        }
        dropped
    };
    let (rounds, dropped) = tokio::join!(writing, dropping);
    site.settled().await;
    for consumer in &mut consumers {
        consumer.assert_running();
    }
    assert!(dropped > 20, "only {dropped} chunks were dropped");
    assert_eq!(buried(&client).await, 0);
    // Of days 76, 77 and 78, which no run has dropped.
    let kept = "SELECT count(*) FROM telemetry WHERE observed_at > now() - interval '78 days 1 hour'";
    assert_eq!(rows(&client, kept).await, i64::try_from(rounds * 3 * 10).unwrap(), "after {rounds} rounds");
    println!("{rounds} rounds, {dropped} chunks dropped");
}

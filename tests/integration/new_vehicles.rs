//! The cap on new vehicles, in the real consumer.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use fleet_testbed::DatabaseLogin;
use rustix::process::Signal;
use tokio_postgres::Client;

use crate::process::program::{Program, Site, report, run};
use crate::support::{TestDatabase, eventually};

const CAP: &str = "FLEET_PROVIDERS__NIU__MAX_NEW_VEHICLES_PER_MINUTE";

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Runs a consumer with this cap until the queue is settled.
async fn settle(site: &Site, cap: Option<&str>) {
    let mut command = site.consumer(&[]);
    let consumer = Program::start(cap.map_or(&mut site.consumer(&[]), |cap| command.env(CAP, cap)));
    site.settled().await;
    consumer.signal(Signal::TERM);
    let ended = consumer.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn beyond_the_cap_new_vehicles_become_dead_letters_and_come_back_once_it_is_raised() {
    let database = TestDatabase::migrated().await;
    let (site, client) = (Site::new(database.url()), database.client().await);
    let reports = |vehicles: std::ops::Range<usize>| vehicles.map(report).collect::<Vec<_>>();
    site.fill_with(&reports(0..5)).await;
    settle(&site, None).await;
    let known = "SELECT count(*) FROM vehicles WHERE last_seen_at > first_seen_at";
    assert_eq!(number(&client, known).await, 0);

    // One push, and so one batch, with five known vehicles and 25 new ones.
    site.fill_with(&reports(0..30)).await;
    settle(&site, Some("10")).await;
    let letters =
        "SELECT count(*) FROM dead_letters WHERE reason = 'too_many_new_vehicles' AND event_index = 0";
    assert_eq!(number(&client, "SELECT count(*) FROM vehicles").await, 15);
    assert_eq!(number(&client, letters).await, 15);
    assert_eq!(number(&client, "SELECT count(*) FROM dead_letters").await, 15);
    assert_eq!(number(&client, known).await, 5, "known vehicles are updated");
    assert_eq!(number(&client, "SELECT count(*) FROM telemetry").await, 35, "telemetry has everything");
    let detail = "SELECT detail FROM dead_letters LIMIT 1";
    let detail: String = client.query_one(detail, &[]).await.unwrap().get(0);
    assert!(detail.starts_with("1 events") && detail.contains(CAP), "{detail}");
    let audit = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");

    let replayed =
        run(&mut site.consumer(&["dead-letters", "replay", "--reason", "too_many_new_vehicles"])).await;
    assert!(replayed.output.contains("put 15 messages of 15 dead letters"), "{replayed:?}");
    settle(&site, Some("100")).await;
    assert_eq!(number(&client, "SELECT count(*) FROM vehicles").await, 30);
    assert_eq!(number(&client, "SELECT count(*) FROM dead_letters").await, 0);
    assert_eq!(number(&client, "SELECT count(*) FROM telemetry").await, 35, "nothing is stored twice");
}

#[tokio::test]
async fn a_message_of_many_new_vehicles_is_one_dead_letter() {
    let database = TestDatabase::migrated().await;
    let (site, client) = (Site::new(database.url()), database.client().await);
    let events: Vec<_> = (0..1000).map(report).collect();
    site.fill_with(&[format!("[{}]", events.join(","))]).await;
    settle(&site, Some("10")).await;
    assert_eq!(number(&client, "SELECT count(*) FROM vehicles").await, 10);
    let letters = client.query("SELECT detail FROM dead_letters", &[]).await.unwrap();
    let details: Vec<String> = letters.iter().map(|row| row.get(0)).collect();
    assert!(details.len() == 1 && details[0].starts_with("990 events"), "{details:?}");
}

/// Each transaction checks the cap itself, and again after a failure. Vehicles of a failed transaction do not use it
/// up.
#[tokio::test]
async fn a_retry_takes_no_second_share_of_the_cap() {
    let database = TestDatabase::migrated().await;
    let (site, client) = (Site::new(database.url()), database.client().await);
    let blocked = database.client_as(DatabaseLogin::Admin).await;
    blocked.batch_execute("REVOKE INSERT ON vehicles FROM fleet_consumer").await.unwrap();
    site.fill_with(&(0..25).map(report).collect::<Vec<_>>()).await;
    let started = Instant::now();
    let consumer = Program::start(site.consumer(&[]).env(CAP, "10"));
    let retries = r#"fleet_consumer_database_retries_total{side="state",class="42"}"#;
    eventually("some retries", async || (consumer.metric(retries).await >= 3.0).then_some(())).await;
    blocked.batch_execute("GRANT INSERT ON vehicles TO fleet_consumer").await.unwrap();
    site.settled().await;
    // Meanwhile the cap has admitted one more vehicle every six seconds.
    let most = 10 + i64::try_from(started.elapsed().as_secs() / 6 + 1).unwrap();
    let vehicles = number(&client, "SELECT count(*) FROM vehicles").await;
    assert!((10..=most).contains(&vehicles), "{vehicles} of {most}");
    assert_eq!(number(&client, "SELECT count(*) FROM telemetry").await, 25);
    let lost = "SELECT count(*) FROM telemetry WHERE vehicle_id NOT IN (SELECT vehicle_id FROM vehicles)
                   AND message_id NOT IN (SELECT message_id FROM dead_letters)";
    assert_eq!(number(&client, lost).await, 0);
}

//! Commits that only the primary has. If its wait for the synchronous standby is cancelled, PostgreSQL reports success.

use std::time::Duration;

use fleet_store::{
    Database, DatabaseOptions, EmptyMessage, Part, Schema, StateStore, StoreError, TelemetryStore, migrate,
};
use fleet_testbed::{Postgres, StandbyOptions};
use jiff::Timestamp;
use uuid::Uuid;

use super::blocking;
use crate::process::program::{Program, Site};
use crate::support::eventually;

/// A migrated primary whose commits wait for its standby, which is paused.
async fn waiting() -> (Postgres, Postgres) {
    let (primary, mut standby) = blocking(|| {
        let primary = Postgres::private(&[]).unwrap();
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        (primary, standby)
    })
    .await;
    for schema in [Schema::State, Schema::Telemetry] {
        migrate(&DatabaseOptions::new(&primary.url()), schema).await.unwrap();
    }
    blocking(move || {
        primary.set_synchronous_standbys("ANY 1 (*)").unwrap();
        standby.pause().unwrap();
        (primary, standby)
    })
    .await
}

fn database(postgres: &Postgres, timeout: Duration) -> Database {
    let url = postgres.url();
    let options = DatabaseOptions {
        connect_timeout: timeout,
        statement_timeout: timeout,
        ..DatabaseOptions::new(&url)
    };
    Database::open(&options).unwrap()
}

const PART: Part<'_> = Part { lease_id: Uuid::from_u128(1), provider: "niu", first_record: 0, records: 0 };

#[tokio::test]
async fn a_cancelled_wait_for_the_standby_is_no_success() {
    let (primary, _standby) = waiting().await;
    let telemetry = TelemetryStore::new(database(&primary, Duration::from_secs(20)));
    let cancel = async {
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        eventually("a commit to wait", async || (primary.psql(cancel).unwrap() == "t").then_some(())).await;
    };
    let (written, ()) = tokio::join!(telemetry.write(&PART, &[], &[]), cancel);
    assert!(matches!(written, Err(StoreError::Unreplicated)), "{written:?}");
}

#[tokio::test]
async fn what_only_the_primary_has_is_not_reported_as_stored() {
    let (primary, mut standby) = waiting().await;
    let database = database(&primary, Duration::from_millis(300));
    let (state, telemetry) = (StateStore::new(database.clone()), TelemetryStore::new(database));
    let empty = [EmptyMessage { message_id: Uuid::from_u128(2), received_at: Timestamp::UNIX_EPOCH }];
    // The first attempt commits when the client gives it up. The next ones find it done.
    for attempt in 0..4 {
        let (a, b, c) = tokio::join!(
            state.write(&PART, &[]),
            telemetry.write(&PART, &[], &[]),
            telemetry.note_empty("niu", &empty)
        );
        assert!(a.is_err() && b.is_err() && c.is_err(), "attempt {attempt}: {a:?} {b:?} {c:?}");
    }
    let count = "SELECT (SELECT count(*) FROM settled_batches) + (SELECT count(*) FROM settled_state_batches)
                      + (SELECT count(*) FROM unstored_messages)";
    eventually("the commits to be visible", async || (primary.psql(count).unwrap() == "3").then_some(()))
        .await;
    let (a, b) = tokio::join!(state.settled(PART.lease_id), telemetry.settled(PART.lease_id));
    assert!(a.is_err() && b.is_err(), "{a:?} {b:?}");
    standby.resume().unwrap();
    eventually("the standby to confirm", async || state.settled(PART.lease_id).await.ok()).await;
    assert_eq!(state.settled(PART.lease_id).await.unwrap().len(), 1);
    assert_eq!(standby.psql(count).unwrap(), "3");
}

/// A consumer that gives up a commit soon, retries quickly, and whose lease ends soon after it is killed.
fn consumer(site: &Site) -> Program {
    let mut command = site.consumer(&[]);
    command
        .env("FLEET_DATABASE__CONNECT_TIMEOUT", "300ms")
        .env("FLEET_DATABASE__STATEMENT_TIMEOUT", "300ms")
        .env("FLEET_CONSUMER__RETRY_MIN", "20ms")
        .env("FLEET_CONSUMER__RETRY_MAX", "50ms")
        .env("FLEET_CONSUMER__LEASE", "1s")
        .env("FLEET_CONSUMER__HEARTBEAT", "300ms");
    Program::start(&mut command)
}

/// Waits until the consumer has tried to store batches this often in vain.
async fn retried(consumer: &Program, times: f64) {
    eventually("more attempts", async || {
        let mut retries = 0.0;
        for side in ["state", "telemetry"] {
            let series = format!(r#"fleet_consumer_database_retries_total{{side="{side}",class="timeout"}}"#);
            retries += consumer.metric(&series).await;
        }
        (retries >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_consumer_keeps_a_batch_that_only_the_lost_primary_had() {
    let (primary, mut standby) = waiting().await;
    let (first, second) = (primary.port(), standby.port());
    let url = format!("postgres://fleet:fleet@127.0.0.1:{first},127.0.0.1:{second}/fleet");
    let site = Site::new(&url);
    let mut writing = consumer(&site);
    writing.readiness(200).await;
    site.fill(3).await;
    let parts = "SELECT (SELECT count(*) FROM settled_batches) || ' ' || (SELECT count(*) FROM settled_state_batches)";
    eventually("the primary to have it", async || (primary.psql(parts).unwrap() == "1 1").then_some(()))
        .await;
    retried(&writing, 4.0).await;
    // Another one takes over the batch, and finds all of it in the primary.
    drop(writing);
    let mut taking_over = consumer(&site);
    retried(&taking_over, 4.0).await;
    assert_eq!(site.queue().await.backlog().messages, 3);
    let standby = blocking(move || {
        primary.destroy().unwrap();
        standby.resume().unwrap();
        standby.promote().unwrap();
        standby.set_synchronous_standbys("").unwrap();
        standby
    })
    .await;
    site.settled().await;
    taking_over.assert_running();
    let count = "SELECT (SELECT count(*) FROM telemetry) || ' ' || (SELECT count(*) FROM vehicles)";
    assert_eq!(standby.psql(count).unwrap(), "3 3");
}

//! Connections that were closed while they were idle, and statements that their caller abandons.

use std::time::{Duration, Instant};

use fleet_testbed::Proxy;

use super::{database, port, through};
use crate::process::program::{Program, Site};
use crate::support::{TestDatabase, eventually};

// On one thread, the connection's own task has had no time to notice that the connection is closed.
#[tokio::test]
async fn a_connection_that_was_cut_while_it_was_idle_costs_nothing() {
    let test = TestDatabase::migrated().await;
    let proxy = Proxy::start(port(test.url())).unwrap();
    let database = database(&through(&proxy, test.url()), 3);
    for _round in 0..3 {
        // Open all three connections, which are idle afterwards.
        let sleep = "SELECT pg_sleep(0.05)";
        let (a, b, c) =
            tokio::join!(database.query(sleep, &[]), database.query(sleep, &[]), database.query(sleep, &[]));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(database.pool_usage().open, 3);
        proxy.cut();
        let rows = database.query("SELECT 1", &[]).await.unwrap();
        assert_eq!(rows[0].get::<_, i32>(0), 1);
    }
}

#[tokio::test]
async fn a_consumer_whose_idle_connections_were_ended_neither_waits_nor_warns() {
    let test = TestDatabase::migrated().await;
    let client = test.client().await;
    let site = Site::new(test.url());
    let mut command = site.consumer(&[]);
    // A retry would take longer than the test.
    command.env("FLEET_CONSUMER__RETRY_MIN", "60s").env("FLEET_CONSUMER__RETRY_MAX", "60s");
    let mut consumer = Program::start(&mut command);
    consumer.readiness(200).await;
    for round in 1..=3 {
        site.fill(round).await;
        site.settled().await;
        let end = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'fleet-consumer'";
        let ended = client.query(end, &[]).await.unwrap();
        assert!(!ended.is_empty() && ended.iter().all(|row| row.get(0)), "round {round}");
    }
    site.fill(1).await;
    site.settled().await;
    consumer.assert_running();
    let log = consumer.logged("consuming").await;
    assert!(!log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn a_statement_that_is_given_up_takes_its_connection_with_it() {
    let test = TestDatabase::migrated().await;
    let database = database(test.url(), 1);
    let sleep = database.query("SELECT pg_sleep(20)", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(200), sleep).await.is_err());
    let start = Instant::now();
    database.query("SELECT 1", &[]).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "it waited for the abandoned statement");
    eventually("the pool to hold one connection", async || {
        (database.pool_usage().open == 1 && database.pool_usage().in_use == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_what_is_about_tls_is_told_as_such() {
    let test = TestDatabase::migrated().await;
    // This server has no TLS.
    let without = test.url().replace("fleet:fleet@", "fleet@");
    for (url, label, said) in [
        (format!("{}?sslmode=require", test.url()), "tls", "enable TLS"),
        (format!("{without}?sslmode=require"), "tls", "enable TLS"),
        (format!("{without}?sslmode=prefer"), "io", "password missing"),
        (format!("{without}?sslmode=disable"), "io", "password missing"),
        (test.url().replace("fleet:fleet@", "fleet:wrong@"), "28", "28P01"),
        ("postgres://fleet:fleet@127.0.0.1:1/fleet".to_owned(), "io", "refused"),
    ] {
        let error = database(&url, 1).query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.label(), label, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

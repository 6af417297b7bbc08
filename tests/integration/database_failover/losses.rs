//! The consumer and its commands follow the primary.

use fleet_testbed::{Postgres, Proxy, StandbyOptions};

use super::blocking;
use super::pair::{Loss, Pair};
use crate::process::program::{Program, Site, report, run};

/// A consumer that gives up a silent server after two seconds, and retries quickly.
fn consumer(site: &Site, telemetry: Option<&str>) -> Program {
    let mut command = site.consumer(&[]);
    command
        .env("FLEET_DATABASE__CONNECT_TIMEOUT", "1s")
        .env("FLEET_DATABASE__STATEMENT_TIMEOUT", "1s")
        .env("FLEET_CONSUMER__RETRY_MIN", "20ms")
        .env("FLEET_CONSUMER__RETRY_MAX", "200ms");
    if let Some(url) = telemetry {
        command.env("FLEET_TELEMETRY_DATABASE_URL", url);
    }
    Program::start(&mut command)
}

/// Accepts this many reports about new vehicles, and waits until all are settled.
async fn settle(site: &Site, consumer: &mut Program, round: usize) {
    let reports: Vec<_> = (0..5).map(|number| report(round * 5 + number)).collect();
    site.fill_with(&reports).await;
    site.settled().await;
    consumer.assert_running();
}

#[tokio::test]
async fn the_consumer_leaves_a_primary_that_was_lost_in_any_way() {
    let pair = Pair::start().await;
    let site = Site::new(&pair.url());
    let mut consumer = consumer(&site, None);
    settle(&site, &mut consumer, 0).await;
    let losses = [Loss::Destroyed, Loss::ReadOnly, Loss::Frozen, Loss::Isolated];
    for (round, loss) in losses.into_iter().enumerate() {
        pair.fail_over(loss).await;
        settle(&site, &mut consumer, round + 1).await;
        let stored = (pair.count("vehicles").await, pair.count("telemetry").await);
        assert_eq!(stored, (5 * (round + 2), 5 * (round + 2)), "{loss:?}");
        pair.rebuild().await;
    }
    assert_eq!(pair.count("dead_letters").await, 0);
}

#[tokio::test]
async fn each_of_two_databases_fails_over_by_itself() {
    let (state, telemetry) = tokio::join!(Pair::start(), Pair::start());
    let site = Site::new(&state.url());
    let mut consumer =
        consumer(&site, Some(&telemetry.url().replace("fleet:fleet", "consumer:local-use-only-consumer")));
    settle(&site, &mut consumer, 0).await;
    state.fail_over(Loss::Destroyed).await;
    settle(&site, &mut consumer, 1).await;
    telemetry.fail_over(Loss::Isolated).await;
    settle(&site, &mut consumer, 2).await;
    assert_eq!((state.count("vehicles").await, telemetry.count("telemetry").await), (15, 15));
    assert_eq!(telemetry.count("dead_letters").await, 0);
}

/// As behind the address of a managed server or of a Kubernetes service, which leads to the new primary. Connections
/// to the old one stay open.
#[tokio::test]
async fn connections_to_a_demoted_server_are_dropped_at_once() {
    let (servers, proxy) = blocking(|| {
        let primary = Postgres::private(&[]).unwrap();
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        let proxy = Proxy::start(primary.port()).unwrap();
        ([primary, standby], proxy)
    })
    .await;
    let url = format!("postgres://fleet:fleet@127.0.0.1:{}/fleet", proxy.port());
    let site = Site::new(&url);
    assert_eq!(run(&mut site.consumer(&["migrate"])).await.code, Some(0));
    let mut command = site.consumer(&[]);
    // A retry would take longer than the test.
    command.env("FLEET_CONSUMER__RETRY_MIN", "60s").env("FLEET_CONSUMER__RETRY_MAX", "60s");
    let mut consumer = Program::start(&mut command);
    settle(&site, &mut consumer, 0).await;
    let servers = blocking(move || {
        let [primary, standby] = &servers;
        primary.psql("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
        primary.psql("SELECT pg_reload_conf()").unwrap();
        standby.promote().unwrap();
        proxy.retarget(standby.port());
        (servers, proxy)
    })
    .await;
    settle(&site, &mut consumer, 1).await;
    assert!(!consumer.log().contains("WARN"), "{}", consumer.log());
    drop(servers);
}

#[tokio::test]
async fn every_command_finds_the_primary_behind_a_standby() {
    let pair = Pair::start().await;
    let site = Site::new(&pair.url());
    let mut consumer = consumer(&site, None);
    settle(&site, &mut consumer, 0).await;
    pair.fail_over(Loss::Destroyed).await;
    pair.rebuild().await;
    settle(&site, &mut consumer, 1).await;
    for arguments in [
        &["migrate"][..],
        &["audit"],
        &["retention"],
        &["dead-letters", "list"],
        &["replay", "--from", "2024-01-01", "--to", "2124-01-01"],
        &["explain", "niu", "NBPROCESS1"],
    ] {
        let ended = run(&mut site.consumer(arguments)).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let traced = pair.first("message_id", "telemetry").await;
    let mut trace = site.consumer(&["trace", &traced]);
    let ended = run(trace.env("FLEET_REDIS_URL", &site.redis).env("FLEET_DATABASE_URL", pair.url())).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

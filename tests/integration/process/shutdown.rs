//! SIGTERM and `kill -9`: no accepted message is lost, and none is stored twice.

use std::collections::HashSet;

use fleet_queue::Envelope;
use fleet_testbed::Redis;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::program::{Program, Site, report, run};
use crate::support::{TOKEN, TestDatabase, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

async fn assert_clean_end(program: Program) {
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
}

/// Sends the headers of a webhook and half of its body.
async fn half_a_webhook(api: &Program, number: usize) -> (TcpStream, String) {
    let url = api.webhooks();
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let body = report(number);
    let (first, second) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /webhooks/niu HTTP/1.1\r\nHost: {host}\r\ntoken: {TOKEN}\r\nContent-Length: {}\r\n\r\n{first}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    (stream, second.to_owned())
}

/// The status of the response, once the connection has ended.
async fn answer(mut stream: TcpStream) -> u16 {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}"));
    status.parse().unwrap()
}

/// Waits until `program` says that it is stopping.
async fn stopping(program: &mut Program) {
    program.readiness(503).await;
    let (_status, body) = program.get("/readyz").await.unwrap();
    assert_eq!(body, "shutting down\n");
}

#[tokio::test]
async fn the_api_finishes_the_request_at_work() {
    let site = Site::new(NO_DATABASE);
    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    let (mut stream, rest) = half_a_webhook(&api, 1).await;
    // The response on a second connection proves that the API has accepted the first one.
    assert_eq!(reqwest::get(api.webhooks()).await.unwrap().status(), 405);

    api.signal(Signal::TERM);
    stopping(&mut api).await;
    assert_eq!(api.status("/livez").await, Some(200), "Kubernetes must not restart it now");
    let refused = reqwest::get(api.webhooks()).await;
    assert!(refused.unwrap_err().is_connect(), "new connections go to other replicas");

    stream.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(answer(stream).await, 200);
    assert_clean_end(api).await;
    assert_eq!(site.queue().await.waiting_messages, 1);
}

#[tokio::test]
async fn the_api_does_not_wait_for_ever() {
    let site = Site::new(NO_DATABASE);
    let mut api = Program::start(site.api(&[]).env("FLEET_API__SHUTDOWN_TIMEOUT", "300ms"));
    api.readiness(200).await;
    let (_stream, _never_sent) = half_a_webhook(&api, 1).await;
    assert_eq!(reqwest::get(api.webhooks()).await.unwrap().status(), 405);
    api.signal(Signal::TERM);
    let ended = api.ended().await;
    assert_eq!(ended.code, Some(1), "a request was cut off: {}", ended.errors);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_api_up() {
    let site = Site::new(NO_DATABASE);
    // Longer than the test waits.
    let mut api = Program::start(site.api(&[]).env("FLEET_API__SHUTDOWN_TIMEOUT", "5m"));
    api.readiness(200).await;
    let client = reqwest::Client::new();
    let posted = client.post(api.webhooks()).header("token", TOKEN).body(report(1)).send();
    assert_eq!(posted.await.unwrap().status(), 200);
    api.signal(Signal::TERM);
    assert_clean_end(api).await;
    drop(client);
}

#[tokio::test]
async fn a_program_that_still_waits_for_its_services_stops_at_once() {
    let mut site = Site::new(NO_DATABASE);
    site.redis = "redis://127.0.0.1:1".to_owned();
    for signal in [Signal::TERM, Signal::INT] {
        for mut command in [site.api(&[]), site.consumer(&[])] {
            let mut program = Program::start(&mut command);
            program.readiness(503).await;
            program.signal(signal);
            assert_clean_end(program).await;
        }
    }
}

/// Posts until the API is gone. Returns the ids of the accepted messages.
async fn post_until_gone(url: String, connection: usize) -> Vec<Uuid> {
    let client = reqwest::Client::new();
    let mut accepted = Vec::new();
    for number in 0.. {
        let body = report(connection * 1_000_000 + number);
        let Ok(response) = client.post(&url).header("token", TOKEN).body(body).send().await else {
            break;
        };
        assert_eq!(response.status(), 200);
        let id = response.headers()["x-request-id"].to_str().unwrap();
        accepted.push(id.parse().unwrap());
    }
    accepted
}

#[tokio::test]
async fn every_webhook_answered_200_under_sigterm_is_in_the_queue() {
    let site = Site::new(NO_DATABASE);
    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    let mut posting: JoinSet<_> =
        (0..8).map(|connection| post_until_gone(api.webhooks(), connection)).collect();
    eventually("the load", async || (site.queue().await.accepted.messages > 200).then_some(())).await;
    api.signal(Signal::TERM);
    let mut answered = Vec::new();
    while let Some(ids) = posting.join_next().await {
        answered.extend(ids.unwrap());
    }
    assert_clean_end(api).await;

    let queued = queued_ids(&site).await;
    assert!(answered.len() > 200, "{}", answered.len());
    let lost: Vec<_> = answered.iter().filter(|id| !queued.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), answered.len());
    let status = site.queue().await;
    assert!(status.balances(), "{status:?}");
}

/// An API after SIGTERM, with webhooks that wait for a Redis that does not reply.
async fn waiting_at_sigterm(webhooks: usize) -> (Redis, Site, Program, Vec<TcpStream>) {
    let private = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap());
    let mut redis = private.await.unwrap();
    let mut site = Site::new(NO_DATABASE);
    site.redis = redis.url();
    let mut api = Program::start(site.api(&[]).env("FLEET_QUEUE__TIMEOUT", "1m"));
    api.readiness(200).await;
    redis.pause().unwrap();
    let mut connections = Vec::new();
    for number in 0..webhooks {
        let (mut connection, rest) = half_a_webhook(&api, number).await;
        connection.write_all(rest.as_bytes()).await.unwrap();
        connections.push(connection);
    }
    assert_eq!(reqwest::get(api.webhooks()).await.unwrap().status(), 405);
    api.signal(Signal::TERM);
    stopping(&mut api).await;
    (redis, site, api, connections)
}

#[tokio::test]
async fn webhooks_that_wait_for_redis_at_sigterm_are_still_taken() {
    let (mut redis, site, api, connections) = waiting_at_sigterm(8).await;
    redis.resume().unwrap();
    for connection in connections {
        assert_eq!(answer(connection).await, 200);
    }
    assert_clean_end(api).await;
    assert_eq!(queued_ids(&site).await.len(), 8);
}

#[tokio::test]
async fn webhooks_that_redis_never_took_are_refused_at_sigterm() {
    let (mut redis, _site, api, connections) = waiting_at_sigterm(8).await;
    redis.kill().unwrap();
    for connection in connections {
        assert_eq!(answer(connection).await, 503);
    }
    assert_clean_end(api).await;
}

async fn queued_ids(site: &Site) -> HashSet<Uuid> {
    let client = redis::Client::open(site.redis.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{}:{{niu}}:queue", site.prefix);
    let mut range = redis::cmd("LRANGE");
    let items: Vec<Vec<u8>> = range.arg(key).arg(0).arg(-1).query_async(&mut connection).await.unwrap();
    let ids: HashSet<_> = items.iter().map(|item| Envelope::decode(item).unwrap().message_id).collect();
    assert_eq!(ids.len(), items.len());
    ids
}

/// Prevents every batch from committing until the transaction ends.
async fn block_telemetry(blocking: &Transaction<'_>) {
    blocking.batch_execute("LOCK TABLE telemetry").await.unwrap();
}

/// Waits until a consumer holds batches.
async fn leased(site: &Site) {
    eventually("a batch at work", async || (site.queue().await.leased().messages > 0).then_some(())).await;
}

/// Asserts that all `messages` are in telemetry and settled, each exactly once.
pub(super) async fn assert_stored_once(site: &Site, database: &TestDatabase, messages: usize) {
    site.settled().await;
    let query = "SELECT (SELECT count(*) FROM telemetry),
                        (SELECT count(DISTINCT message_id) FROM telemetry),
                        (SELECT sum(inserted) FROM settled_batches)::bigint,
                        (SELECT sum(records) FROM settled_batches)::bigint,
                        (SELECT sum(records) FROM settled_state_batches)::bigint,
                        (SELECT count(*) FROM vehicles),
                        (SELECT count(*) FROM dead_letters)";
    let row = database.client().await.query_one(query, &[]).await.unwrap();
    let counts: Vec<i64> = (0..7).map(|column| row.get(column)).collect();
    let all = i64::try_from(messages).unwrap();
    assert_eq!(counts, [all, all, all, all, all, all, 0]);
    let audit = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

#[tokio::test]
async fn the_consumer_finishes_the_batches_at_work() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    block_telemetry(&blocking).await;
    site.fill(100).await;
    let mut consumer = Program::start(&mut site.consumer(&[]));
    leased(&site).await;

    consumer.signal(Signal::TERM);
    stopping(&mut consumer).await;
    assert_eq!(consumer.status("/livez").await, Some(200));
    blocking.rollback().await.unwrap();
    assert_clean_end(consumer).await;
    assert_stored_once(&site, &database, 100).await;
}

#[tokio::test]
async fn a_consumer_that_may_not_finish_hands_its_batches_over_at_once() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    // No test would wait for such a lease to expire.
    let consumer = || {
        let mut command = site.consumer(&[]);
        command.env("FLEET_CONSUMER__LEASE", "1h");
        command.env("FLEET_CONSUMER__SHUTDOWN_TIMEOUT", "200ms");
        command
    };
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    block_telemetry(&blocking).await;
    site.fill(100).await;
    let first = Program::start(&mut consumer());
    leased(&site).await;
    first.signal(Signal::TERM);
    assert_clean_end(first).await;
    assert!(site.queue().await.leased().messages > 0, "still leased, but released");

    blocking.rollback().await.unwrap();
    let second = Program::start(&mut consumer());
    site.settled().await;
    let taken_over = r#"fleet_consumer_leases_total{provider="niu",fate="taken_over"}"#;
    assert!(second.metric(taken_over).await >= 1.0);
    assert_stored_once(&site, &database, 100).await;
}

#[tokio::test]
async fn a_killed_consumers_batches_are_taken_over() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let consumer = || {
        let mut command = site.consumer(&[]);
        command.env("FLEET_CONSUMER__LEASE", "1s");
        command.env("FLEET_CONSUMER__HEARTBEAT", "300ms");
        command.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "50");
        command
    };
    let mut blocker = database.client().await;
    let blocking = blocker.transaction().await.unwrap();
    block_telemetry(&blocking).await;
    site.fill(500).await;
    let killed = Program::start(&mut consumer());
    leased(&site).await;
    let second = Program::start(&mut consumer());
    eventually("both consumers to have batches at work", async || {
        (site.queue().await.leased().messages >= 200).then_some(())
    })
    .await;
    killed.signal(Signal::KILL);
    assert_eq!(killed.ended().await.code, None);

    // The second consumer keeps its own batches. It gets the first one's only when their leases expire.
    blocking.rollback().await.unwrap();
    site.settled().await;
    let taken_over = r#"fleet_consumer_leases_total{provider="niu",fate="taken_over"}"#;
    assert!((1.0..=2.0).contains(&second.metric(taken_over).await));
    assert_stored_once(&site, &database, 500).await;
}

#[tokio::test]
async fn consumers_killed_at_any_moment_store_everything_once() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let consumer = || {
        let mut command = site.consumer(&[]);
        command.env("FLEET_CONSUMER__LEASE", "1s");
        command.env("FLEET_CONSUMER__HEARTBEAT", "300ms");
        command.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "20");
        command
    };
    let total = 4000;
    site.fill(total).await;
    for kills in 1..=4 {
        let victim = Program::start(&mut consumer());
        let goal = kills * 500;
        eventually("some batches to be settled", async || {
            (site.queue().await.settled.messages >= goal).then_some(())
        })
        .await;
        victim.signal(Signal::KILL);
        assert_eq!(victim.ended().await.code, None);
    }
    let left = site.queue().await.backlog().messages;
    assert!(left > 0, "the kills came too late to prove anything");
    let _last = Program::start(&mut consumer());
    assert_stored_once(&site, &database, total).await;
}

//! A provider with several queues, and changes of their number. The real binaries run.

mod changes;
mod commands;
mod leftovers;
mod refusing;

use std::process::Command;

use fleet_queue::QueueStatus;

use crate::process::program::{Program, Site, report, run};
use crate::support::{TOKEN, TestDatabase, eventually};

const SHARDS: &str = "FLEET_PROVIDERS__NIU__SHARDS";

/// NIU's API with so many shards.
fn api(site: &Site, shards: u8) -> Command {
    let mut command = site.api(&[]);
    command.env(SHARDS, shards.to_string());
    command
}

/// The consumer, or a command of it, with so many shards of NIU.
fn consumer(site: &Site, shards: u8, arguments: &[&str]) -> Command {
    let mut command = site.consumer(arguments);
    command.env(SHARDS, shards.to_string()).env("FLEET_CONSUMER__STATUS_INTERVAL", "100ms");
    command
}

async fn started(command: &mut Command) -> Program {
    let mut program = Program::start(command);
    program.readiness(200).await;
    program
}

/// Posts a report of NIU. Returns the status, and the message's id.
async fn post(client: &reqwest::Client, api: &Program, body: String) -> (u16, String) {
    let response = client.post(api.webhooks()).header("token", TOKEN).body(body).send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    (response.status().as_u16(), id)
}

/// How many of so many reports are answered with this status.
async fn answered(api: &Program, reports: std::ops::Range<usize>, status: u16) -> usize {
    let (client, mut answered) = (reqwest::Client::new(), 0);
    for number in reports {
        answered += usize::from(post(&client, api, report(number)).await.0 == status);
    }
    answered
}

async fn queues<const N: usize>(site: &Site, names: [&str; N]) -> [QueueStatus; N] {
    let mut statuses = Vec::new();
    for name in names {
        statuses.push(site.queue_of(name).await);
    }
    statuses.try_into().unwrap()
}

/// Waits until the databases have so many reports, each of them once, and asserts that the audit balances.
async fn stored_once(site: &Site, database: &TestDatabase, shards: u8, reports: usize) {
    let client = database.client().await;
    let query = "SELECT count(*), count(DISTINCT message_id), (SELECT count(*) FROM vehicles) FROM telemetry";
    let wanted = i64::try_from(reports).unwrap();
    eventually("every report to be stored", async || {
        let row = client.query_one(query, &[]).await.unwrap();
        let counts: [i64; 3] = std::array::from_fn(|column| row.get(column));
        assert!(counts.iter().all(|count| *count <= wanted), "{counts:?} instead of {wanted}");
        (counts == [wanted; 3]).then_some(())
    })
    .await;
    eventually("the audit to balance", async || {
        let audit = run(&mut consumer(site, shards, &["audit"])).await;
        (audit.code == Some(0)).then_some(())
    })
    .await;
}

/// The counts in a row of the audit's first table.
fn audited(output: &str, name: &str) -> Vec<u64> {
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let row = output.lines().map(cells).find(|cells| cells.get(1).is_some_and(|cell| cell == name));
    let row = row.unwrap_or_else(|| panic!("no row {name}: {output}"));
    row.iter().filter_map(|cell| cell.parse().ok()).collect()
}

#[tokio::test]
async fn both_shards_are_used_from_end_to_end() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let api = started(&mut api(&site, 2)).await;
    let consumer_program = started(&mut consumer(&site, 2, &[])).await;
    assert_eq!(answered(&api, 0..40, 200).await, 40);
    stored_once(&site, &database, 2, 40).await;
    let [first, second, unsharded] = queues(&site, ["niu.0", "niu.1", "niu"]).await;
    assert_eq!((first.accepted.messages, second.accepted.messages), (20, 20), "they take turns");
    assert_eq!(unsharded.accepted.messages, 0);

    assert_eq!(api.metric(r#"fleet_api_shards{provider="niu"}"#).await, 2.0);
    assert_eq!(consumer_program.metric(r#"fleet_consumer_shards{provider="niu"}"#).await, 2.0);
    assert_eq!(consumer_program.metric(r#"fleet_consumer_shards{provider="segway"}"#).await, 1.0);
    for queue in ["niu.0", "niu.1", "segway"] {
        let configured = format!(r#"fleet_queue_configured{{queue="{queue}"}}"#);
        assert_eq!(consumer_program.metric(&configured).await, 1.0);
        consumer_program.metric(&format!(r#"fleet_queue_redis_memory_used_bytes{{queue="{queue}"}}"#)).await;
    }
    eventually("the consumer to have counted everything", async || {
        let accepted = r#"fleet_queue_accepted_messages_total{queue="niu.1"}"#;
        (consumer_program.metric(accepted).await == 20.0).then_some(())
    })
    .await;
    let (_status, metrics) = consumer_program.get("/metrics").await.unwrap();
    assert!(!metrics.contains(r#"queue="niu""#), "nobody has used the queue without shards");
    let audit = run(&mut consumer(&site, 2, &["audit"])).await;
    assert_eq!(audited(&audit.output, "niu.0"), [20, 0, 0, 20, 0]);
    assert_eq!(audited(&audit.output, "niu.1"), [20, 0, 0, 20, 0]);
    assert_eq!(audited(&audit.output, "niu in all"), [40, 0, 0, 40, 0]);
}

/// The queue of a release without shards.
#[tokio::test]
async fn one_shard_keeps_the_name() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let api = started(&mut api(&site, 1)).await;
    let _consumer = started(&mut consumer(&site, 1, &[])).await;
    assert_eq!(answered(&api, 0..5, 200).await, 5);
    stored_once(&site, &database, 1, 5).await;
    let [unsharded, first] = queues(&site, ["niu", "niu.0"]).await;
    assert_eq!((unsharded.accepted.messages, first.accepted.messages), (5, 0));
}

//! The consumer's commands for operators.

use super::program::{Program, Site, run};
use crate::support::TestDatabase;

/// The cells of the table's row that starts with `first`.
fn row<'a>(table: &'a str, first: &str) -> Vec<&'a str> {
    let rows = table.lines().map(|line| {
        let cells = line.split(['|', '│', '┆']).map(str::trim);
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    });
    let mut found = rows.filter(|cells| cells.first() == Some(&first));
    let cells = found.next().unwrap_or_else(|| panic!("no row {first}: {table}"));
    cells[1..].to_vec()
}

#[tokio::test]
async fn migrate_twice_has_nothing_to_do() {
    let database = TestDatabase::empty().await;
    let site = Site::new(database.url());
    let first = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(!first.output.contains("nothing to do"), "{first:?}");
    assert_eq!(first.output.matches("applied").count(), 2, "state and telemetry: {first:?}");
    let second = run(&mut site.consumer(&["migrate"])).await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(second.output.matches("nothing to do").count(), 2, "{second:?}");
}

#[tokio::test]
async fn an_unreachable_database_fails_a_command() {
    let site = Site::new("postgres://fleet:hunter2@127.0.0.1:1/none");
    for command in ["migrate", "retention", "audit"] {
        let ended = run(&mut site.consumer(&[command])).await;
        assert_eq!(ended.code, Some(1), "{command}: {ended:?}");
        assert!(!ended.errors.is_empty() && !ended.errors.contains("hunter2"), "{command}: {ended:?}");
    }
}

#[tokio::test]
async fn audit_shows_both_ledgers() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(3).await;
    let before = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(before.code, Some(0), "{before:?}");
    assert_eq!(row(&before.output, "niu"), ["3", "3", "0", "0", "0", "yes"], "{}", before.output);
    for other in ["segway", "invers"] {
        assert_eq!(row(&before.output, other), ["0", "0", "0", "0", "0", "yes"]);
    }

    let consumer = Program::start(&mut site.consumer(&[]));
    site.settled().await;
    drop(consumer);
    let after = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(after.code, Some(0), "{after:?}");
    let (queues, settled) = after.output.split_once("databases' ledgers").unwrap();
    assert_eq!(row(queues, "niu"), ["3", "0", "0", "3", "0", "yes"], "{queues}");
    assert_eq!(row(settled, "niu"), ["3", "0", "0", "3", "3"], "{settled}");
}

#[tokio::test]
async fn audit_balances_while_a_consumer_is_at_work() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(4000).await;
    let mut consumer = site.consumer(&[]);
    let _consumer = Program::start(consumer.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "5"));
    let mut audits = 0;
    while site.queue().await.backlog().messages > 0 {
        let audit = run(&mut site.consumer(&["audit"])).await;
        assert_eq!(audit.code, Some(0), "audit {audits}: {audit:?}");
        audits += 1;
    }
    assert!(audits >= 3, "{audits} audits in time prove nothing");
}

#[tokio::test]
async fn audit_fails_if_a_message_is_missing() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(3).await;
    let mut redis =
        redis::Client::open(site.redis.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut pop = redis::cmd("LPOP");
    let _lost: Vec<u8> =
        pop.arg(format!("{}:{{niu}}:queue", site.prefix)).query_async(&mut redis).await.unwrap();
    let ended = run(&mut site.consumer(&["audit"])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(row(&ended.output, "niu").last(), Some(&"NO"), "{}", ended.output);
}

#[tokio::test]
async fn retention_removes_what_is_old_and_nothing_else() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(1).await;
    let consumer = Program::start(&mut site.consumer(&[]));
    site.settled().await;
    drop(consumer);
    let client = database.client().await;
    let old = "INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, raw)
        SELECT vehicle_id, observed_at - interval '100 days', event_id, received_at, message_id, provider, topic, kind, raw
        FROM telemetry";
    assert_eq!(client.execute(old, &[]).await.unwrap(), 1);
    let ended = run(&mut site.consumer(&["retention"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("removed 1 "), "{ended:?}");
    let left = "SELECT count(*) FROM telemetry WHERE observed_at > now() - interval '1 day'";
    let all = "SELECT count(*) FROM telemetry";
    for query in [left, all] {
        let count: i64 = client.query_one(query, &[]).await.unwrap().get(0);
        assert_eq!(count, 1, "{query}");
    }
    let again = run(&mut site.consumer(&["retention"])).await;
    assert!(again.output.contains("removed 0 "), "{again:?}");
}

//! Consumers killed with `kill -9` while they parse a message, or while a database accepts nothing.

mod child;

use std::process::Command;

use fleet_queue::QueueKeys;
use rustix::process::{Signal, kill_process};

use crate::process::program::{Program, Site, prepared, report};
use crate::support::{TestDatabase, eventually};

/// A message that takes even a fast parser a while, so that a test can kill the consumer meanwhile, but little memory.
fn slow() -> String {
    let elements = "{\"a\":1},".repeat(16 * 1024 * 1024 / 8);
    format!("{{\"a\":[{elements}1],\"sn\":\"KILLER\"}}")
}

/// A message of this many bytes whose members need far more memory while it is parsed: the parser copies each, because
/// U+0000 cannot be stored.
fn enormous(bytes: usize) -> String {
    let members = "\"\":0,".repeat(bytes / 5);
    format!("{{{members}\"sn\":\"KILLER\",\"type\":\"\\u0000\"}}")
}

fn consumer(site: &Site) -> Command {
    let mut command = site.consumer(&[]);
    command.env("FLEET_CONSUMER__LEASE", "1s").env("FLEET_CONSUMER__HEARTBEAT", "300ms");
    command.env("FLEET_CONSUMER__CLAIM_MAX_BYTES", "67108864").env("FLEET_QUEUE__TIMEOUT", "30s");
    command.env("FLEET_CONSUMER__BATCH_MAX_BYTES", "67108864");
    command
}

/// The owner of the only batch, as recorded in Redis.
#[derive(Debug, PartialEq)]
struct Owner {
    token: String,
    deaths: u32,
    mark: String,
}

async fn owner(site: &Site) -> Option<Owner> {
    let mut values = redis::cmd("HVALS");
    values.arg(format!("{}:{{niu}}:owners", site.prefix));
    let records: Vec<String> = site.link().command(&values).await.unwrap();
    let mut words = records.first()?.splitn(4, ' ');
    let token = words.next()?.to_owned();
    let deaths = words.next()?.parse().unwrap();
    Some(Owner { token, deaths, mark: words.nth(1)?.to_owned() })
}

/// Starts a consumer and kills it while it holds the batch under `mark`.
async fn kill_under(site: &Site, mark: &str) -> Owner {
    let before = owner(site).await.map(|owner| owner.token);
    let victim = Program::start(&mut consumer(site));
    eventually(&format!("a new owner under the mark {mark:?}"), async || {
        let owner = owner(site).await?;
        (Some(&owner.token) != before.as_ref() && owner.mark == mark).then_some(())
    })
    .await;
    victim.signal(Signal::KILL);
    assert_eq!(victim.ended().await.code, None);
    let owner = owner(site).await.expect("the batch stays leased");
    assert_eq!(owner.mark, mark, "it was killed too late");
    owner
}

async fn texts(database: &TestDatabase, query: &str) -> Vec<String> {
    let rows = database.client().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_message_that_crashes_its_consumers_is_found_and_its_neighbours_are_applied() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(1).await;
    // With this much memory (in KiB), such a message crashes the parser each time.
    let mut command = prepared(&consumer(&site), "ulimit -d 262144");
    // The limit counts the memory that the allocator reserves in advance.
    command.env("MIMALLOC_ARENA_RESERVE", "0");
    let mut victim = Program::start(&mut command);
    site.settled().await;
    site.fill_with(&[report(1), enormous(16 << 20), report(2)]).await;
    for _ in 0..3 {
        assert_eq!(victim.ended().await.signal, Some(Signal::ABORT.as_raw()));
        victim = Program::start(&mut command);
    }
    // The fourth consumer lets a child process parse the messages one by one.
    site.settled().await;
    victim.assert_running();
    let vehicles = texts(&database, "SELECT provider_vehicle_id FROM vehicles ORDER BY 1").await;
    assert_eq!(vehicles, ["NBPROCESS0", "NBPROCESS1", "NBPROCESS2"]);
    let query =
        "SELECT reason || ' ' || (position('KILLER'::bytea IN message.envelope) > 0)::text || ' ' || detail
                   FROM dead_letters JOIN dead_messages AS message USING (message_id)";
    let detail = "parsing it crashes the consumer: it aborts (SIGABRT), for example because it needs more than 192 MiB of \
                  memory; fix the parser, then replay this message";
    assert_eq!(texts(&database, query).await, [format!("consumer_killed true {detail}")]);
}

/// A batch whose second message takes long to parse. Three consumers were killed while they parsed it.
async fn suspected(database: &TestDatabase) -> Site {
    let site = Site::new(database.url());
    site.fill_with(&[report(1), slow(), report(2)]).await;
    for deaths in 0..3 {
        assert_eq!(kill_under(&site, "parsing").await.deaths, deaths);
    }
    site
}

/// Asserts that all three messages of such a batch are stored.
async fn assert_innocent(database: &TestDatabase, site: &Site) {
    site.settled().await;
    let vehicles = texts(database, "SELECT provider_vehicle_id FROM vehicles ORDER BY 1").await;
    assert_eq!(vehicles, ["KILLER", "NBPROCESS1", "NBPROCESS2"]);
    assert_eq!(texts(database, "SELECT reason FROM dead_letters").await, Vec::<String>::new());
}

#[tokio::test]
async fn consumers_killed_while_they_parse_bury_nothing() {
    let database = TestDatabase::migrated().await;
    let site = suspected(&database).await;
    for _ in 0..3 {
        let victim = Program::start(&mut consumer(&site));
        victim.logged("parsing its messages one by one").await;
        victim.signal(Signal::KILL);
        assert_eq!(victim.ended().await.signal, Some(Signal::KILL.as_raw()));
    }
    let _last = Program::start(&mut consumer(&site));
    assert_innocent(&database, &site).await;
}

#[tokio::test]
async fn a_kill_of_the_child_that_parses_convicts_nobody() {
    let database = TestDatabase::migrated().await;
    let site = suspected(&database).await;
    let judging = Program::start(&mut consumer(&site));
    let mut killed = None;
    for number in 1..=2 {
        let child = eventually("another child", async || {
            judging.children().into_iter().find(|child| Some(*child) != killed)
        })
        .await;
        killed = Some(child);
        kill_process(child, if number == 1 { Signal::KILL } else { Signal::TERM }).unwrap();
        eventually("the log to say so", async || {
            let log = judging.logged("could not find out whether a message crashes the parser").await;
            (log.matches("could not find out whether a message crashes the parser").count() == number)
                .then_some(())
        })
        .await;
    }
    assert_innocent(&database, &site).await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_judged_waits_a_minute_and_others_go_on() {
    let database = TestDatabase::migrated().await;
    let site = suspected(&database).await;
    let judging = Program::start(&mut consumer(&site));
    let undecided = r#"fleet_consumer_leases_total{provider="niu",fate="undecided"}"#;
    eventually("the batch to be given up", async || {
        for child in judging.children() {
            let _ended_meanwhile = kill_process(child, Signal::KILL);
        }
        (judging.metric(undecided).await >= 1.0).then_some(())
    })
    .await;
    judging.logged("released a batch for a minute").await;
    let deaths = owner(&site).await.map(|owner| (owner.deaths, owner.mark));
    assert_eq!(deaths, Some((3, String::new())), "this time no consumer has died");

    let keys = QueueKeys::new(&site.prefix, "niu");
    let mut leases = redis::cmd("ZRANGE");
    leases.arg(&keys.leases).arg(0).arg(-1).arg("WITHSCORES");
    let [(id, due_ms)] = site.link().command::<[(String, i64); 1]>(&leases).await.unwrap();
    let waits_s = (due_ms - jiff::Timestamp::now().as_millisecond()) / 1000;
    assert!((30..=60).contains(&waits_s), "{waits_s}");
    site.fill_with(&[report(3)]).await;
    eventually("another batch to be stored", async || {
        let others = "SELECT provider_vehicle_id FROM vehicles";
        (texts(&database, others).await == ["NBPROCESS3"]).then_some(())
    })
    .await;

    // As if the minute were over.
    let mut due = redis::cmd("ZADD");
    due.arg(&keys.leases).arg("XX").arg(0).arg(id);
    site.link().command::<i64>(&due).await.unwrap();
    site.settled().await;
    let vehicles = texts(&database, "SELECT provider_vehicle_id FROM vehicles ORDER BY 1").await;
    assert_eq!(vehicles, ["KILLER", "NBPROCESS1", "NBPROCESS2", "NBPROCESS3"]);
    assert_eq!(texts(&database, "SELECT reason FROM dead_letters").await, Vec::<String>::new());
}

#[tokio::test]
async fn consumers_killed_while_a_database_keeps_them_waiting_bury_nothing() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut client = database.client().await;
    let blocking = client.transaction().await.unwrap();
    blocking.batch_execute("LOCK TABLE vehicles").await.unwrap();
    site.fill(20).await;
    for _ in 0..2 {
        assert_eq!(kill_under(&site, "").await.deaths, 0);
    }
    blocking.rollback().await.unwrap();
    let _last = Program::start(&mut consumer(&site));
    site.settled().await;
    assert_eq!(texts(&database, "SELECT provider_vehicle_id FROM vehicles").await.len(), 20);
}

#[tokio::test]
async fn deaths_while_a_batch_stands_aside_for_a_schema_do_not_speak_against_it() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let rename = async |from: &str, to: &str| {
        let statement = format!("ALTER TABLE vehicles RENAME COLUMN {from} TO {to}");
        database.client().await.batch_execute(&statement).await.unwrap();
    };
    rename("lat", "latitude").await;
    site.fill(20).await;
    for _ in 0..2 {
        let before = owner(&site).await.map(|owner| owner.token);
        let victim = Program::start(&mut consumer(&site));
        let owner = eventually("another consumer to have set the batch aside", async || {
            let owner = owner(&site).await.filter(|owner| Some(&owner.token) != before.as_ref())?;
            (site.queue().await.parked == 1).then_some(owner)
        })
        .await;
        victim.signal(Signal::KILL);
        assert_eq!(victim.ended().await.code, None);
        assert_eq!((owner.deaths, owner.mark.as_str()), (0, ""));
    }
    rename("latitude", "lat").await;
    let _last = Program::start(&mut consumer(&site));
    site.settled().await;
    assert_eq!(texts(&database, "SELECT provider_vehicle_id FROM vehicles").await.len(), 20);
}

#[tokio::test]
async fn consumers_killed_while_a_database_takes_nothing_bury_nothing() {
    let database = TestDatabase::migrated().await;
    let name = texts(&database, "SELECT current_database()::text").await.remove(0);
    let set = async |setting: &str| {
        let statement = format!("ALTER DATABASE {name} {setting}");
        database.client().await.batch_execute(&format!("SET transaction_read_only = off; {statement}")).await
    };
    set("SET default_transaction_read_only = on").await.unwrap();
    let site = Site::new(database.url());
    site.fill(20).await;
    for _ in 0..4 {
        // The messages are parsed and wait to be written, so a death does not count against them.
        assert_eq!(kill_under(&site, "").await.deaths, 0);
    }
    assert!(texts(&database, "SELECT provider_vehicle_id FROM vehicles").await.is_empty(), "an outage");
    set("RESET default_transaction_read_only").await.unwrap();
    let _last = Program::start(&mut consumer(&site));
    site.settled().await;
    assert_eq!(texts(&database, "SELECT provider_vehicle_id FROM vehicles").await.len(), 20);
    assert_eq!(texts(&database, "SELECT reason FROM dead_letters").await, Vec::<String>::new());
}

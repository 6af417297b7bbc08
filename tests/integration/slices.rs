//! Batches with more events than are in memory at the same time: their peak memory, and faults between their slices.

use std::time::Duration;

use fleet_consumer::commands::audit::ledgers::Audit;
use rustix::process::Signal;

use crate::process::program::{Program, Site};
use crate::support::{DEADLINE, Fleet, TestDatabase, eventually, fresh_prefix};

const MIB: usize = 1024 * 1024;

/// The most events that are accepted in one message.
const MOST_EVENTS: usize = 10_000;

/// Small enough for many slices in one message.
const SLICE: usize = 500;

/// The first record of the slice in the middle.
const MIDDLE: usize = 5 * SLICE;

/// A message with `count` copies of this event.
fn dense(event: &str, count: usize) -> String {
    format!("[{}]", vec![event; count].join(","))
}

/// The smallest event of each provider.
const SMALLEST: [(&str, &str); 3] = [
    ("niu", r#"{"sn":"n"}"#),
    ("segway", r#"{"iotCode":"n"}"#),
    ("invers", r#"{"data":{"vehicle_id":"n"}}"#),
];

/// A message with one event for each of `count` vehicles.
fn vehicles(count: usize) -> String {
    let event = |index| format!(r#"{{"sn":"V{index}","nowSpeed":7,"isAccOn":"x","isCharging":"x"}}"#);
    format!("[{}]", (0..count).map(event).collect::<Vec<_>>().join(","))
}

/// Waits longer than [`eventually`], because a debug build parses and stores hundreds of thousands of events meanwhile.
async fn drained(site: &Site, provider: &str) {
    let drained = async {
        while site.queue_of(provider).await.backlog().messages > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(DEADLINE * 6, drained).await.expect("the backlog drains");
}

async fn count(database: &TestDatabase, query: &str) -> i64 {
    database.client().await.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_backlog_of_dense_messages_takes_bounded_memory() {
    const MESSAGES: usize = 4;
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    for (provider, event) in SMALLEST {
        let mut bodies = vec![dense(event, MOST_EVENTS); MESSAGES];
        if provider == "niu" {
            // Each event is about another vehicle and has values that are dropped.
            bodies.fill(vehicles(MOST_EVENTS));
        }
        site.fill_queue(provider, &bodies).await;
    }
    let mut command = site.consumer(&[]);
    // Two batches of each queue at the same time.
    command.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", (MESSAGES / 2).to_string());
    let consumer = Program::start(&mut command);
    for (provider, _event) in SMALLEST {
        drained(&site, provider).await;
    }
    // A quarter of the limit in deploy/k8s/base/consumer/deployment.yaml.
    let peak = consumer.peak_bytes() / MIB;
    assert!(peak < 96, "{peak} MiB");
    assert_eq!(count(&database, "SELECT count(*) FROM dead_letters").await, 0);
    let stored = i64::try_from(SMALLEST.len() * MESSAGES * MOST_EVENTS).unwrap();
    let noted = "SELECT sum(inserted + duplicate)::bigint FROM settled_batches";
    assert_eq!(count(&database, noted).await, stored);
}

/// Large batches have larger slices, and messages of many events as well.
#[tokio::test]
async fn large_batches_take_bounded_memory() {
    const MESSAGES: usize = 300;
    const EVENTS: usize = 300;
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    for (provider, event) in SMALLEST {
        let body = if provider == "niu" { vehicles(EVENTS) } else { dense(event, EVENTS) };
        site.fill_queue(provider, &vec![body; MESSAGES]).await;
    }
    let mut command = site.consumer(&[]);
    command.env("FLEET_CONSUMER__CLAIM_MAX_MESSAGES", (MESSAGES / 6).to_string());
    command.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", (MESSAGES / 2).to_string());
    let consumer = Program::start(&mut command);
    for (provider, _event) in SMALLEST {
        drained(&site, provider).await;
    }
    let peak = consumer.peak_bytes() / MIB;
    // A debug build. The consumer's promise is 128 MiB.
    assert!(peak < 128, "{peak} MiB");
    let largest = "SELECT max(records) FROM (SELECT sum(records) AS records FROM settled_batches GROUP BY lease_id) AS batches";
    let largest: i64 = count(&database, &format!("SELECT ({largest})::bigint")).await;
    assert_eq!(usize::try_from(largest).unwrap(), MESSAGES / 2 * EVENTS, "a batch is large");
}

/// One message of many slices. When one database stores the slice in the middle, a trigger runs.
struct Rig {
    database: TestDatabase,
    fleet: Fleet,
}

impl Rig {
    /// Runs `action` in a trigger before `table` records that slice's part.
    async fn start(table: &str, action: &str) -> Self {
        let database = TestDatabase::migrated().await;
        let trigger = format!(
            "CREATE FUNCTION in_the_middle() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.first_record = {MIDDLE} THEN {action}; END IF; RETURN NEW; END $$;
             CREATE TRIGGER in_the_middle BEFORE INSERT ON {table}
                 FOR EACH ROW EXECUTE FUNCTION in_the_middle()"
        );
        database.client().await.batch_execute(&trigger).await.unwrap();
        let prefix = fresh_prefix();
        let variables = [("FLEET_DATABASE_URL", database.url()), ("FLEET_QUEUE__PREFIX", &prefix)];
        let fleet = Fleet::api_only(&variables).await;
        Self { database, fleet }
    }

    /// The same database and queue, for the real programs.
    fn site(&self) -> Site {
        let prefix = self.fleet.settings.queue.prefix.clone();
        Site { prefix, ..Site::new(self.database.url()) }
    }

    fn consumer(&self) -> Program {
        let mut command = self.site().consumer(&[]);
        command.env("FLEET_CONSUMER__MAX_TRANSACTION_EVENTS", SLICE.to_string());
        command.env("FLEET_CONSUMER__LEASE", "1s").env("FLEET_CONSUMER__HEARTBEAT", "300ms");
        command.env("FLEET_CONSUMER__RETRY_MAX", "300ms");
        Program::start(&mut command)
    }

    async fn parts(&self, table: &str) -> usize {
        let parts = count(&self.database, &format!("SELECT count(DISTINCT first_record) FROM {table}")).await;
        usize::try_from(parts).unwrap()
    }

    /// Waits until one side has stored this many slices.
    async fn stored(&self, table: &str, slices: usize) {
        eventually(&format!("{slices} parts in {table}"), async || {
            (self.parts(table).await == slices).then_some(())
        })
        .await;
    }

    /// Asserts that everything is stored once, on both sides.
    async fn assert_whole(&self) {
        self.site().settled().await;
        for table in ["settled_batches", "settled_state_batches"] {
            assert_eq!(self.parts(table).await, MOST_EVENTS / SLICE, "{table}");
        }
        let most = i64::try_from(MOST_EVENTS).unwrap();
        for table in ["telemetry", "vehicles"] {
            assert_eq!(
                count(&self.database, &format!("SELECT count(*) FROM {table}")).await,
                most,
                "{table}"
            );
        }
        assert_eq!(count(&self.database, "SELECT count(*) FROM dead_letters").await, 0);
        let audit = Audit::read(&self.fleet.settings).await.unwrap();
        assert!(audit.balances(), "{audit}");
    }
}

async fn a_database_goes_away_in_the_middle(leaving: &str, lasting: &str) {
    // As if the server shut down.
    let rig = Rig::start(leaving, "RAISE EXCEPTION 'away' USING ERRCODE = '57P01'").await;
    rig.site().fill_with(&[vehicles(MOST_EVENTS)]).await;
    let _consumer = rig.consumer();
    rig.stored(lasting, MOST_EVENTS / SLICE).await;
    eventually("the batch to be set aside", async || (rig.site().queue().await.parked == 1).then_some(()))
        .await;
    assert_eq!(rig.parts(leaving).await, MIDDLE / SLICE);
    let back = format!("DROP TRIGGER in_the_middle ON {leaving}");
    rig.database.client().await.batch_execute(&back).await.unwrap();
    rig.assert_whole().await;
}

#[tokio::test]
async fn the_state_goes_away_in_the_middle_of_a_batch() {
    a_database_goes_away_in_the_middle("settled_state_batches", "settled_batches").await;
}

#[tokio::test]
async fn the_history_goes_away_in_the_middle_of_a_batch() {
    a_database_goes_away_in_the_middle("settled_batches", "settled_state_batches").await;
}

#[tokio::test]
async fn a_consumer_killed_between_slices_leaves_nothing_double() {
    let rig = Rig::start("settled_batches", "PERFORM pg_advisory_xact_lock(42)").await;
    let client = rig.database.client().await;
    client.batch_execute("SELECT pg_advisory_lock(42)").await.unwrap();
    rig.site().fill_with(&[vehicles(MOST_EVENTS)]).await;
    for _ in 0..2 {
        let consumer = rig.consumer();
        rig.stored("settled_batches", MIDDLE / SLICE).await;
        rig.stored("settled_state_batches", MOST_EVENTS / SLICE).await;
        consumer.signal(Signal::KILL);
        assert_eq!(consumer.ended().await.code, None);
    }
    client.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
    let _last = rig.consumer();
    rig.assert_whole().await;
}

/// Whether Redis has the only batch marked as being parsed. None if the batch has no owner.
async fn is_marked(site: &Site) -> Option<bool> {
    let mut values = redis::cmd("HVALS");
    values.arg(format!("{}:{{niu}}:owners", site.prefix));
    let records: Vec<String> = site.link().command(&values).await.unwrap();
    records.first().map(|record| record.ends_with(" parsing"))
}

#[tokio::test]
async fn a_batch_is_marked_again_before_a_later_slice_is_parsed() {
    let rig = Rig::start("settled_batches", "PERFORM pg_advisory_xact_lock(43)").await;
    let client = rig.database.client().await;
    client.batch_execute("SELECT pg_advisory_lock(43)").await.unwrap();
    let site = rig.site();
    site.fill_with(&[vehicles(MOST_EVENTS)]).await;
    let _consumer = rig.consumer();
    rig.stored("settled_state_batches", MOST_EVENTS / SLICE).await;
    let seen = async |wanted: bool| {
        eventually(&format!("the mark to be {wanted}"), async || {
            is_marked(&site).await.filter(|is_marked| *is_marked == wanted)
        })
        .await;
    };
    // The slice is being stored, and no parsing is going on.
    seen(false).await;
    client.batch_execute("SELECT pg_advisory_unlock(43)").await.unwrap();
    seen(true).await;
    rig.assert_whole().await;
}

//! Messages that are too large or slow to parse, through the real programs. Each of them ends as a row or a dead
//! letter, and its neighbours are stored.

use std::time::Duration;

use fleet_queue::Producer;
use uuid::Uuid;

use crate::process::program::{Program, Site, report};
use crate::support::{DEADLINE, TOKEN, TestDatabase};

const MIB: usize = 1024 * 1024;

/// Repeats `unit` between `head` and `tail` until the body has about this many bytes.
fn body(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    [head, &unit.repeat(bytes / unit.len()), tail].concat()
}

/// Bodies below the default limit that take the parser the longest. All of them name a vehicle.
fn slow_bodies() -> Vec<String> {
    let bytes = MIB - 256;
    let shapes = [
        (",\"nowSpeed\":1", ",\"nowSpeed\":1", "}"),
        (",\"batteries\":{}", ",\"batteries\":{}", "}"),
        (",\"nowSpeed\":0.", "3", "}"),
        (",\"type\":\"", "\\\"\\u00e4", "\"}"),
        (",\"x\":[0", ",[[[[[[[[]]]]]]]]", "]}"),
        (",\"infoTimestamp\":\"1 ", "T ", "\"}"),
    ];
    let whole =
        |(index, (head, unit, tail))| body(&format!("{{\"sn\":\"SLOW{index}\"{head}"), unit, tail, bytes);
    shapes.into_iter().enumerate().map(whole).collect()
}

async fn post(api: &Program, body: String) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let answer = client.post(api.webhooks()).header("token", TOKEN).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// The vehicles with a row, and the reasons of the dead letters, both sorted.
async fn ended(database: &TestDatabase) -> (Vec<String>, Vec<String>) {
    let client = database.client().await;
    let texts = async |query: &str| -> Vec<String> {
        client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let vehicles = texts("SELECT provider_vehicle_id FROM vehicles ORDER BY 1").await;
    (vehicles, texts("SELECT reason FROM dead_letters ORDER BY 1").await)
}

#[tokio::test]
async fn slow_ones_do_not_hold_up_their_batch() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    let mut expected = Vec::new();
    for (number, slow) in slow_bodies().into_iter().enumerate() {
        post(&api, slow).await;
        post(&api, report(number)).await;
        expected.extend([format!("NBPROCESS{number}"), format!("SLOW{number}")]);
    }
    expected.sort();
    let mut command = site.consumer(&[]);
    // All messages are in one batch. A parser of more than linear time would lose its lease.
    for limit in ["FLEET_CONSUMER__CLAIM_MAX_BYTES", "FLEET_CONSUMER__BATCH_MAX_BYTES"] {
        command.env(limit, (16 * MIB).to_string());
    }
    let consumer = Program::start(&mut command);
    site.settled().await;
    assert_eq!(ended(&database).await, (expected, Vec::new()));
    let client = database.client().await;
    let query = "SELECT count(DISTINCT lease_id) FROM settled_batches";
    assert_eq!(client.query_one(query, &[]).await.unwrap().get::<_, i64>(0), 1, "one batch");
    let peak = consumer.peak_bytes() / MIB;
    assert!(peak < 256, "{peak} MiB");
}

/// Fifty megabytes each, with a limit on bodies that allows them.
#[tokio::test]
async fn huge_ones_end_within_bounds() {
    const LIMIT: usize = 50 * MIB + 1;
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut command = site.api(&[]);
    command.env("FLEET_API__MAX_BODY_BYTES", LIMIT.to_string());
    command.env("FLEET_API__MAX_IN_FLIGHT_BYTES", (2 * LIMIT).to_string());
    command.env("FLEET_API__BODY_TIMEOUT", "1m").env("FLEET_QUEUE__TIMEOUT", "30s");
    let mut api = Program::start(&mut command);
    api.readiness(200).await;
    post(&api, report(1)).await;
    post(&api, body("[0", ",0", "]", LIMIT - 3)).await;
    post(&api, report(2)).await;
    post(&api, body("{\"sn\":\"HUGE\",\"x\":\"", "x", "\"}", LIMIT - 32)).await;
    post(&api, report(3)).await;
    let mut command = site.consumer(&[]);
    command.env("FLEET_QUEUE__TIMEOUT", "30s");
    // The test measures memory, so nothing except the messages may need any.
    command.env("FLEET_CONSUMER__STATUS_INTERVAL", "1h");
    let consumer = Program::start(&mut command);
    let ending = async {
        loop {
            let (vehicles, dead) = ended(&database).await;
            if vehicles.len() + dead.len() == 5 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    // Hundreds of megabytes go through three servers, which takes a while on a busy machine.
    tokio::time::timeout(DEADLINE * 4, ending).await.expect("all five end");
    site.settled().await;
    let vehicles = ["HUGE", "NBPROCESS1", "NBPROCESS2", "NBPROCESS3"].map(str::to_owned).to_vec();
    assert_eq!(ended(&database).await, (vehicles, vec!["too_many_events".to_owned()]));
    let (api, consumer) = (api.peak_bytes() / MIB, consumer.peak_bytes() / MIB);
    // Four times the body in the API. Nine times in the consumer, because a statement's parameters are copied more than
    // once.
    assert!(api < 300 && consumer < 640, "{api} MiB and {consumer} MiB");
}

/// A mistake by hand, or another program with the same prefix, may leave such items in the list.
#[tokio::test]
async fn what_is_no_envelope_is_put_aside() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let item = |version: u32, received_ms: i64| {
        format!("{version} {} {received_ms} - - -\n{{\"sn\":\"JUNK\"}}", Uuid::now_v7()).into_bytes()
    };
    let junk = vec![
        Vec::new(),
        b"\n".to_vec(),
        b"\xff\xfe \0\n".to_vec(),
        br#"{"sn":"A"}"#.to_vec(),
        item(2, 0),
        // The ends of the calendar, and times beyond them.
        item(1, -377_705_023_201_000),
        item(1, -1),
        item(1, 253_402_207_200_001),
        item(1, i64::MAX),
    ];
    let letters = junk.len();
    Producer::new(site.link(), &site.prefix, "niu").push(&junk).await.unwrap();
    site.fill(2).await;
    let _consumer = Program::start(&mut site.consumer(&[]));
    site.settled().await;
    let (vehicles, mut reasons) = ended(&database).await;
    assert_eq!(vehicles, ["NBPROCESS0", "NBPROCESS1"]);
    assert_eq!(reasons.len(), letters);
    reasons.dedup();
    assert_eq!(reasons, ["malformed_envelope", "unknown_envelope_version"]);
}

//! `fleet-consumer explain`: which message set each attribute, and why later messages did not change it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use fleet_testbed::DatabaseLogin;
use jiff::Timestamp;
use tokio_postgres::Client;

use crate::process::program::{Program, Site, run};
use crate::support::TestDatabase;

const MINUTE_MS: i64 = 60_000;

struct Stage {
    site: Site,
    sql: Client,
    _database: TestDatabase,
}

impl Stage {
    /// Stores these reports, one webhook after the other.
    async fn with_reports(reports: &[String]) -> Self {
        let database = TestDatabase::migrated().await;
        let site = Site::new(database.url());
        let _consumer = Program::start(&mut site.consumer(&[]));
        for report in reports {
            site.fill_with(&[report]).await;
            site.settled().await;
        }
        Self { site, sql: database.client().await, _database: database }
    }

    /// The command's output about the vehicle. It runs with the reader's login.
    async fn explained(&self, vehicle: &str) -> String {
        let ended = run(&mut self.site.consumer(&["explain", "niu", vehicle])).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.output
    }

    /// The message of the event whose raw text contains `mark`.
    async fn message(&self, mark: &str) -> String {
        let query = "SELECT message_id::text FROM telemetry WHERE raw->>'mark' = $1";
        self.sql.query_one(query, &[&mark]).await.unwrap().get(0)
    }
}

/// The part of the output about one attribute.
fn section<'a>(output: &'a str, attribute: &str) -> &'a str {
    let all = output.split("\n\n");
    let found = all.into_iter().find(|section| section.starts_with(&format!("{attribute}:")));
    found.unwrap_or_else(|| panic!("no section {attribute}: {output}"))
}

#[tokio::test]
async fn a_vehicle_that_does_not_move_says_why() {
    let now_ms = Timestamp::now().as_millisecond();
    let at = |minutes: i64| now_ms - minutes * MINUTE_MS;
    let report = |mark: &str, minutes: i64, rest: &str| {
        format!(r#"{{"sn":"STILL","mark":"{mark}","infoTimestamp":{},{rest}}}"#, at(minutes))
    };
    let place = |fixed: i64, lat: &str| {
        format!(r#""gpsTimestamp":{},"postion":{{"lat":{lat},"lng":13.4}}"#, at(fixed))
    };
    let reports = [
        report("first", 60, &format!(r#"{},"isAccOn":1"#, place(60, "52.1"))),
        report("comma", 50, &format!(r#"{},"isAccOn":0"#, place(50, "\"52,2\""))),
        report("zero", 40, r#""postion":{"lat":0,"lng":0}"#),
        report("stale", 30, &place(90, "52.4")),
        report("silent", 20, r#""nowSpeed":7"#),
    ];
    let stage = Stage::with_reports(&reports).await;
    let output = stage.explained("STILL").await;
    let position = section(&output, "position");
    assert!(position.starts_with("position: 52.1, 13.4\n"), "{position}");
    let [first, comma, zero, stale] = ["first", "comma", "zero", "stale"];
    assert!(position.contains(&format!("with message {}", stage.message(first).await)), "{position}");
    for (what, mark) in [
        ("since then 1 event not understood, the newest with 52,2", comma),
        ("since then 1 event without a fix, the newest with 0/0", zero),
        ("since then 1 event with an earlier time for it, the newest with 52.4, 13.4", stale),
    ] {
        let line =
            position.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {position}"));
        assert!(line.contains(&stage.message(mark).await), "{line}");
    }
    assert!(position.contains("since then 1 event without it"), "{position}");
    let power = section(&output, "powered_on");
    assert!(power.starts_with("powered_on: false\n"), "{power}");
    assert!(power.contains(&stage.message(comma).await), "{power}");
    assert_eq!(section(&output, "charging").trim_end(), "charging: never reported");
    assert_eq!(section(&output, "driving_enabled").trim_end(), "driving_enabled: never reported");
}

#[tokio::test]
async fn of_two_messages_of_one_time_the_earlier_one_is_named() {
    let now_ms = Timestamp::now().as_millisecond();
    let report = |mark: &str, on: u8| {
        format!(r#"{{"sn":"TIE","mark":"{mark}","infoTimestamp":{now_ms},"isAccOn":{on}}}"#)
    };
    let stage = Stage::with_reports(&[report("on", 1), report("off", 0)]).await;
    let output = stage.explained("TIE").await;
    let power = section(&output, "powered_on");
    assert!(power.starts_with("powered_on: false\n"), "{power}");
    assert!(power.contains(&format!("with message {}", stage.message("off").await)), "{power}");
    let earlier = "since then 1 event with the same time, received earlier, the newest with true";
    assert!(power.contains(earlier) || !power.contains("since then"), "{power}");
}

#[tokio::test]
async fn a_row_of_the_release_before_is_explained_without_its_receipt() {
    let now_ms = Timestamp::now().as_millisecond();
    let report = format!(r#"{{"sn":"OLD","mark":"old","infoTimestamp":{now_ms},"isAccOn":1}}"#);
    let stage = Stage::with_reports(&[report]).await;
    let update = "UPDATE vehicles SET powered_on_received_at = NULL WHERE provider_vehicle_id = 'OLD'";
    stage.sql.batch_execute(update).await.unwrap();
    let output = stage.explained("OLD").await;
    let power = section(&output, "powered_on");
    assert!(power.contains(&format!("received with message {}", stage.message("old").await)), "{power}");
    stage.sql.batch_execute("DELETE FROM telemetry").await.unwrap();
    let output = stage.explained("OLD").await;
    assert!(section(&output, "powered_on").contains("its message was not found in telemetry"), "{output}");
}

/// A redelivered report updates the time of receipt but adds no row.
#[tokio::test]
async fn a_repetition_is_called_one() {
    let now_ms = Timestamp::now().as_millisecond();
    let report = format!(r#"{{"sn":"TWICE","mark":"twice","infoTimestamp":{now_ms},"isAccOn":1}}"#);
    let stage = Stage::with_reports(&[report.clone(), report]).await;
    let output = stage.explained("TWICE").await;
    let message = stage.message("twice").await;
    let power = section(&output, "powered_on");
    assert!(power.contains(&format!("with a repetition of message {message}")), "{power}");
}

#[tokio::test]
async fn an_unknown_vehicle_and_a_login_without_rights_are_told_what_to_do() {
    let stage = Stage::with_reports(&[r#"{"sn":"KNOWN"}"#.to_owned()]).await;
    let ended = run(&mut stage.site.consumer(&["explain", "niu", "known"])).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("its case counts"), "{ended:?}");
    let mut command = stage.site.consumer(&["explain", "niu", "KNOWN"]);
    let url = crate::support::database_as(DatabaseLogin::Consumer, &stage.site.database);
    let ended = run(command.env("FLEET_DATABASE_URL", url)).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("42501"), "{ended:?}");
    let ended = run(&mut stage.site.consumer(&["explain", "tesla", "KNOWN"])).await;
    assert!(ended.errors.contains("niu"), "{ended:?}");
}

//! What the binaries log on standard error.

use fleet_testbed::Redis;
use rustix::process::Signal;
use serde_json::Value;

use super::program::{Program, Site, report};
use crate::support::{TOKEN, TestDatabase, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet:hunter2@127.0.0.1:1/none";

/// What the API logs between its start and SIGTERM, with one webhook.
async fn log_of_a_webhook(variables: &[(&str, &str)]) -> String {
    let site = Site::new(NO_DATABASE);
    let mut api = Program::start(site.api(&[]).envs(variables.iter().copied()));
    api.readiness(200).await;
    let url = format!("{}?key={TOKEN}", api.webhooks());
    let posted = reqwest::Client::new().post(url).header("token", TOKEN).body(report(1));
    assert_eq!(posted.send().await.unwrap().status(), 200);
    api.signal(Signal::TERM);
    let ended = api.ended().await;
    assert_eq!(ended.output, "", "logs belong on standard error");
    ended.errors
}

#[tokio::test]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let log = log_of_a_webhook(&[]).await;
    assert!(log.contains("INFO"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let log = log_of_a_webhook(&[("FLEET_LOG_FORMAT", "json")]).await;
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let object: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["level"].is_string() && object["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn secrets_do_not_reach_the_log() {
    for scheme in ["header:token", "query:key"] {
        let variables = [("FLEET_LOG", "debug"), ("FLEET_PROVIDERS__NIU__AUTH", scheme)];
        let log = log_of_a_webhook(&variables).await;
        assert!(log.contains("answered a webhook"), "{scheme}: {log}");
        assert!(!log.contains(TOKEN), "{scheme}: {log}");
    }
}

#[tokio::test]
async fn the_password_of_an_unreachable_database_does_not_reach_the_log() {
    let site = Site::new(NO_DATABASE);
    let mut consumer = Program::start(site.consumer(&[]).env("FLEET_LOG", "debug"));
    consumer.readiness(503).await;
    let waiting = consumer.logged("waiting for the database").await;
    assert!(!waiting.contains("hunter2"), "{waiting}");
}

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const JSON_AT_DEBUG: [(&str, &str); 2] = [("FLEET_LOG", "debug"), ("FLEET_LOG_FORMAT", "json")];
/// A report without a vehicle, which becomes a dead letter.
const NAMELESS: &str =
    r#"{"renamed":"NBLOGS1","postion":{"lat":52.123456,"lng":13.654321},"infoTimestamp":1}"#;

/// Posts with this token and [`TRACE_ID`]. Returns the response's status and request id.
async fn post(api: &Program, token: &str, body: String) -> (u16, String) {
    let traceparent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    let request = reqwest::Client::new().post(api.webhooks()).header("token", token);
    let answer = request.header("traceparent", traceparent).body(body).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), id)
}

/// The lines of a JSON log in which `field` is `value`.
fn lines(log: &str, field: &str, value: &str) -> Vec<Value> {
    // The last line may be incomplete.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line[field] == value).collect()
}

/// Waits for a line about this message.
async fn line_about(program: &Program, message_id: &str) -> Value {
    eventually(&format!("a line about {message_id}"), async || {
        lines(&program.logged("").await, "message_id", message_id).pop()
    })
    .await
}

#[tokio::test]
async fn a_message_can_be_followed_through_both_logs() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let mut api = Program::start(site.api(&[]).envs(JSON_AT_DEBUG));
    let mut consumer = Program::start(site.consumer(&[]).envs(JSON_AT_DEBUG));
    api.readiness(200).await;
    consumer.readiness(200).await;
    let (status, id) = post(&api, TOKEN, NAMELESS.to_owned()).await;
    assert_eq!(status, 200);

    let answered = line_about(&api, &id).await;
    assert_eq!((&answered["outcome"], &answered["provider"]), (&"accepted".into(), &"niu".into()));
    let buried = line_about(&consumer, &id).await;
    assert_eq!((&buried["level"], &buried["reason"]), (&"WARN".into(), &"missing_vehicle_id".into()));
    for line in [&answered, &buried] {
        assert_eq!(line["trace_id"], TRACE_ID, "{line}");
        assert_eq!(line["provider"], "niu", "{line}");
    }
    for program in [&api, &consumer] {
        let log = program.logged("").await;
        for secret in ["NBLOGS1", "52.123456", "13.654321", TOKEN] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }
}

#[tokio::test]
async fn a_push_that_fails_names_a_message() {
    let mut redis = tokio::task::spawn_blocking(|| Redis::private(&[]).unwrap()).await.unwrap();
    let mut site = Site::new(NO_DATABASE);
    site.redis = redis.url();
    let mut api = Program::start(site.api(&[]).env("FLEET_LOG_FORMAT", "json"));
    api.readiness(200).await;
    redis.kill().unwrap();
    let (status, id) = post(&api, TOKEN, report(1)).await;
    assert_eq!(status, 503);
    // The failed push is logged, too.
    let line = eventually("a line about the push", async || {
        lines(&api.logged("").await, "level", "WARN").into_iter().find(|line| line["message_id"] == *id)
    })
    .await;
    assert_eq!(line["trace_id"], TRACE_ID);
    assert_eq!((&line["provider"], &line["messages"]), (&"niu".into(), &1.into()));
    assert!(line["error"].as_str().unwrap().contains("Redis"), "{line}");
    let shed = r#"fleet_api_shed_total{provider="niu",reason="redis_unavailable"}"#;
    assert_eq!(api.metric(shed).await, 1.0);
}

#[tokio::test]
async fn a_flood_of_dead_letters_does_not_fill_the_log() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill_with(&vec![NAMELESS; 300]).await;
    let mut consumer = Program::start(site.consumer(&[]).env("FLEET_LOG_FORMAT", "json"));
    consumer.readiness(200).await;
    site.settled().await;
    let counted = r#"fleet_consumer_dead_letters_total{provider="niu",reason="missing_vehicle_id"}"#;
    eventually("all to be counted", async || (consumer.metric(counted).await == 300.0).then_some(())).await;
    let log = consumer.logged("more dead letters").await;
    let single = lines(&log, "reason", "missing_vehicle_id").len();
    assert_eq!(single, 8, "of one batch: {log}");
    assert!(log.contains(r#""more":292"#), "{log}");
}

/// A decimal comma, and an unknown word for the lock. Both are counted, and the log shows one example of each without
/// the vehicle's position.
#[tokio::test]
async fn a_value_that_is_not_understood_leaves_a_trace() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let report =
        r#"{"sn":"DRIFT","postion":{"lat":"52,520008","lng":"13,404954"},"isFortificationOn":"ARMED"}"#;
    site.fill_with(&[report; 20]).await;
    let variables = [("FLEET_LOG_FORMAT", "json"), ("FLEET_LOG", "info,fleet_consumer=debug")];
    let mut consumer = Program::start(site.consumer(&[]).envs(variables));
    consumer.readiness(200).await;
    site.settled().await;
    for attribute in ["position", "locked"] {
        let counted = format!(
            r#"fleet_consumer_dropped_values_total{{provider="niu",attribute="{attribute}",reason="not_understood"}}"#
        );
        eventually("all to be counted", async || (consumer.metric(&counted).await == 20.0).then_some(()))
            .await;
    }
    let log = consumer.logged("a value is present but not used").await;
    let examples: Vec<_> = lines(&log, "reason", "not_understood");
    let mut shown: Vec<_> =
        examples.iter().map(|line| (line["attribute"].clone(), line["example"].clone())).collect();
    shown.sort_by_key(|(attribute, _)| attribute.to_string());
    assert_eq!(shown, [("locked".into(), "ARMED".into()), ("position".into(), "99,999999".into())], "{log}");
    assert!(!log.contains("52,52"), "{log}");
}

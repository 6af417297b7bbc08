//! What the binaries say on standard error.

use rustix::process::Signal;

use super::program::{Program, Site, report};
use crate::support::TOKEN;

/// Nobody listens there.
const NO_DATABASE: &str = "postgres://fleet:hunter2@127.0.0.1:1/none";

/// What the API logs from its start to SIGTERM, one webhook in between.
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

//! Refused webhooks in the API's log: found by their id, and limited in number.

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

use super::program::{Program, Site, report};
use crate::support::{TOKEN, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://fleet@127.0.0.1:1/none";
/// A text that the sender chooses. It must not appear in the log.
const CHOSEN: &str = "chosen-by-the-sender";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn api() -> Program {
    let mut command = Site::new(NO_DATABASE).api(&[]);
    command.env("FLEET_LOG_FORMAT", "json").env("FLEET_API__MAX_BODY_BYTES", "1000");
    let mut api = Program::start(&mut command);
    api.readiness(200).await;
    api
}

/// Sends a request with [`CHOSEN`] in many places. Returns the response's status and id.
async fn send(client: &reqwest::Client, request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let request = request
        .header("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"))
        .header("user-agent", CHOSEN);
    let answer = client.execute(request.build().unwrap()).await.unwrap();
    (answer.status(), answer.headers()["x-request-id"].to_str().unwrap().to_owned())
}

fn parsed(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn every_refusal_is_found_by_its_id() {
    let api = api().await;
    let client = reqwest::Client::new();
    let niu = format!("{}/{CHOSEN}?q={CHOSEN}", api.webhooks());
    let post = |url: &str, token: &str| client.post(url).header("token", token).body(report(1));
    let elsewhere = niu.replace("niu", CHOSEN);
    let refused = [
        (post(&niu, CHOSEN), "niu", "unauthorized"),
        (post(&niu, TOKEN).header("content-encoding", CHOSEN), "niu", "unsupported_encoding"),
        (post(&niu, TOKEN).body(CHOSEN.repeat(100)), "niu", "too_large"),
        (post(&niu, TOKEN).body(""), "niu", "empty_body"),
        (client.request(Method::PUT, &niu).body(CHOSEN), "niu", "method_not_allowed"),
        (post(&elsewhere, TOKEN), "unknown", "unknown_provider"),
    ];
    for (request, provider, outcome) in refused {
        let (status, id) = send(&client, request).await;
        assert!(status.is_client_error(), "{outcome}: {status}");
        let line = eventually(&format!("a line about {outcome}"), async || {
            let log = parsed(&api.logged("").await);
            log.into_iter().find(|line| line["message_id"] == *id)
        })
        .await;
        assert_eq!(line["level"], "INFO", "{line}");
        assert_eq!((&line["provider"], &line["outcome"]), (&provider.into(), &outcome.into()));
    }
    let (status, accepted) = send(&client, post(&niu, TOKEN)).await;
    assert_eq!(status, 200);
    api.signal(Signal::TERM);
    let log = api.ended().await.errors;
    assert!(log.contains("SIGTERM") && !log.contains(&accepted), "accepted ones are logged at debug: {log}");
    for secret in [CHOSEN, TOKEN, TRACE_ID] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_neither_fills_the_log_nor_hides_others() {
    let api = api().await;
    let client = reqwest::Client::new();
    for _ in 0..60 {
        let forged = client.post(api.webhooks()).header("token", CHOSEN).body(report(1));
        assert_eq!(send(&client, forged).await.0, 401);
        let lost = client.post(api.webhooks().replace("niu", CHOSEN)).body(report(1));
        assert_eq!(send(&client, lost).await.0, 404);
    }
    let empty = client.post(api.webhooks()).header("token", TOKEN);
    let (status, id) = send(&client, empty).await;
    assert_eq!(status, 400);
    api.signal(Signal::TERM);
    let log = parsed(&api.ended().await.errors);
    assert!(log.iter().any(|line| line["message_id"] == *id), "{log:?}");
    for (provider, outcome) in [("niu", "unauthorized"), ("unknown", "unknown_provider")] {
        let lines: Vec<_> = log.iter().filter(|line| line["outcome"] == outcome).collect();
        let (single, sums): (Vec<&Value>, Vec<&Value>) =
            lines.iter().partition(|line| line["message_id"].is_string());
        // A minute may end during the flood.
        assert!((10..=20).contains(&single.len()), "{lines:?}");
        let not_logged: u64 = sums.iter().map(|line| line["not_logged"].as_u64().unwrap()).sum();
        assert_eq!(usize::try_from(not_logged).unwrap() + single.len(), 60, "{lines:?}");
        assert!(lines.iter().all(|line| line["provider"] == provider), "{lines:?}");
    }
}

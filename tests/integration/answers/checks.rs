//! Every refusal, and which check comes first.

use reqwest::Method;

use super::client::{Connection, FORM, NIU_TOKEN, assert_refused, head, post, post_niu, send, signed};
use crate::support::{Fleet, SEGWAY_SECRET, TOKEN};

const BODY: &str = r#"{"sn":"A1"}"#;
const WRONG: (&str, &str) = ("token", "wrong-token");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const HUGE: (&str, &str) = ("content-length", "99999999999");

/// Sends only the headers of a request. The API must respond without the body, and must not send `100 Continue`.
async fn refused_by_head(fleet: &Fleet, target: &str, headers: &[(&str, &str)], status: u16, error: &str) {
    let mut connection = Connection::open(&fleet.api).await;
    let headers = [headers, &[("expect", "100-continue")]].concat();
    connection.send(head(target, &headers)).await;
    assert_refused(&connection.answer().await, status, error);
}

#[tokio::test]
async fn every_provider_is_told_success_in_its_words() {
    let fleet = Fleet::api_only(&[]).await;
    let niu = post_niu(&fleet.api, BODY).await;
    let (json, success) = (Some("application/json"), r#"{"status":0,"desc":"success"}"#);
    assert_eq!((niu.status, niu.header("content-type"), niu.body.as_str()), (200, json, success));
    let segway = super::client::post_segway(&fleet.api, "iotCode=1").await;
    assert_eq!(
        (segway.status, segway.header("content-type"), segway.body.as_str()),
        (200, json, r#"{"code":0}"#)
    );
    let bearer = format!("Bearer {TOKEN}");
    let invers = post(&fleet.api, "/webhooks/invers", &[("authorization", &bearer)], "{}").await;
    assert_eq!((invers.status, invers.header("content-type"), invers.body.as_str()), (200, None, ""));
    assert_eq!(niu.header("retry-after"), None);
    for provider in ["niu", "segway", "invers"] {
        assert_eq!(fleet.queue(provider).await.waiting_messages, 1, "{provider}");
    }
}

#[tokio::test]
async fn paths_that_are_nobodys() {
    let fleet = Fleet::api_only(&[]).await;
    let long = format!("/webhooks/niu/{}", "a".repeat(129));
    for path in [
        "/",
        "/niu",
        "/webhooks",
        "/webhooks/",
        "/webhooks/acme",
        "/webhooks/NIU",
        "/webhooks//niu",
        "//webhooks/niu",
        "/Webhooks/niu",
        "/webhooks/%6eiu",
        "/webhooks/niu%2fstatus",
        "/webhooks/niu/a%0ab",
        "/webhooks/niu/a%20b",
        "/webhooks/niu/a:b",
        "/webhooks/../webhooks/niu",
        &long,
    ] {
        let mut connection = Connection::open(&fleet.api).await;
        let headers = [NIU_TOKEN, ("content-length", "11")];
        connection.send(head(path, &headers) + BODY).await;
        assert_refused(&connection.answer().await, 404, "unknown_provider");
    }
    assert_eq!(fleet.queue("niu").await.accepted.messages, 0);
}

#[tokio::test]
async fn topics_are_taken_as_sent() {
    let fleet = Fleet::api_only(&[]).await;
    let longest = format!("/webhooks/niu/{}", "a".repeat(128));
    for path in ["/webhooks/niu/", "/webhooks/niu?x=%0a", "/webhooks/niu/a/b.c_d~e-f", &longest] {
        let answer = post(&fleet.api, path, &[NIU_TOKEN], BODY).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn only_post_is_allowed() {
    let fleet = Fleet::api_only(&[]).await;
    let methods = [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
    for method in methods {
        let answer = send(method, &fleet.api, "/webhooks/niu", &[NIU_TOKEN], BODY).await;
        assert_refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let answer = send(Method::HEAD, &fleet.api, "/webhooks/niu", &[NIU_TOKEN], "").await;
    assert_eq!((answer.status, answer.header("allow"), answer.body.as_str()), (405, Some("POST"), ""));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let fleet = Fleet::api_only(&[("FLEET_API__MAX_BODY_BYTES", "11")]).await;
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200, "the limit is inclusive");
    refused_by_head(&fleet, "/webhooks/niu", &[NIU_TOKEN, ("content-length", "12")], 413, "too_large").await;
    refused_by_head(&fleet, "/webhooks/niu", &[NIU_TOKEN, HUGE], 413, "too_large").await;
}

#[tokio::test]
async fn a_chunked_body_is_counted() {
    let fleet = Fleet::api_only(&[("FLEET_API__MAX_BODY_BYTES", "11")]).await;
    let request = head("/webhooks/niu", &[NIU_TOKEN, ("transfer-encoding", "chunked")]);
    let mut connection = Connection::open(&fleet.api).await;
    connection.send(format!("{request}5\r\n{{\"sn\"\r\n6\r\n:\"A1\"}}\r\n0\r\n\r\n")).await;
    assert_eq!(connection.answer().await.status, 200);
    // The last chunk is never sent.
    connection.send(format!("{request}c\r\n{BODY} \r\n")).await;
    assert_refused(&connection.answer().await, 413, "too_large");
    assert_eq!(fleet.queue("niu").await.accepted.messages, 1);
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let fleet = Fleet::api_only(&[]).await;
    for encoding in ["gzip", "br", "deflate", "identity, gzip", "gzip, identity"] {
        let headers = [NIU_TOKEN, ("content-encoding", encoding)];
        let answer = post(&fleet.api, "/webhooks/niu", &headers, BODY).await;
        assert_refused(&answer, 415, "unsupported_encoding");
    }
    let headers = [NIU_TOKEN, ("content-encoding", "identity")];
    assert_eq!(post(&fleet.api, "/webhooks/niu", &headers, BODY).await.status, 200);
}

#[tokio::test]
async fn a_wrong_token_is_refused_before_the_body_is_sent() {
    let fleet = Fleet::api_only(&[]).await;
    let length = ("content-length", "1000");
    refused_by_head(&fleet, "/webhooks/niu", &[WRONG, length], 401, "unauthorized").await;
    refused_by_head(&fleet, "/webhooks/niu", &[length], 401, "unauthorized").await;
    refused_by_head(&fleet, "/webhooks/niu", &[NIU_TOKEN, NIU_TOKEN, length], 401, "unauthorized").await;
    let bearer = ("authorization", "Bearer wrong");
    refused_by_head(&fleet, "/webhooks/invers", &[bearer, length], 401, "unauthorized").await;
}

#[tokio::test]
async fn empty_and_unfinished_bodies() {
    let fleet = Fleet::api_only(&[]).await;
    assert_refused(&post_niu(&fleet.api, "").await, 400, "empty_body");
    let empty = post(&fleet.api, "/webhooks/segway", &[FORM], "").await;
    assert_refused(&empty, 400, "empty_body");
    let mut connection = Connection::open(&fleet.api).await;
    let chunked = [NIU_TOKEN, ("transfer-encoding", "chunked")];
    connection.send(head("/webhooks/niu", &chunked) + "5\r\n{\"sn\"\r\nzz\r\n").await;
    assert_refused(&connection.answer().await, 400, "body_incomplete");
    assert_eq!(fleet.queue("niu").await.accepted.messages, 0);
}

#[tokio::test]
async fn a_bad_signature_is_refused() {
    let fleet = Fleet::api_only(&[]).await;
    let good = signed("iotCode=1&locked=true", SEGWAY_SECRET);
    let bad = [
        "iotCode=1&locked=true".to_owned(),
        good.replace("true", "false"),
        format!("{good}&more=1"),
        signed("iotCode=1", "test-secret-0003"),
    ];
    for body in bad {
        let answer = post(&fleet.api, "/webhooks/segway", &[FORM], body).await;
        assert_refused(&answer, 401, "unauthorized");
    }
    assert_eq!(post(&fleet.api, "/webhooks/segway", &[FORM], good).await.status, 200);
}

#[tokio::test]
async fn the_first_check_that_fails_decides() {
    let fleet = Fleet::api_only(&[]).await;
    let api = &fleet.api;
    for (method, path, headers, status, error) in [
        (Method::GET, "/webhooks/acme", &[WRONG, GZIP][..], 404, "unknown_provider"),
        (Method::GET, "/webhooks/niu", &[WRONG, GZIP], 405, "method_not_allowed"),
        (Method::POST, "/webhooks/niu", &[WRONG, GZIP], 415, "unsupported_encoding"),
        (Method::POST, "/webhooks/niu", &[WRONG], 401, "unauthorized"),
    ] {
        assert_refused(&send(method, api, path, headers, "").await, status, error);
    }
    let (niu, large) = ("/webhooks/niu", "too_large");
    refused_by_head(&fleet, "/webhooks/acme", &[HUGE], 404, "unknown_provider").await;
    refused_by_head(&fleet, niu, &[WRONG, GZIP, HUGE], 413, large).await;
    // Segway's signature is in the body, so the API checks the body's size first.
    refused_by_head(&fleet, "/webhooks/segway", &[GZIP, HUGE], 413, large).await;
}

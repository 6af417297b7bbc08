//! The API's limits: time, requests in flight, bytes in flight, and each provider's backlog.

use super::client::{Connection, NIU_TOKEN, assert_refused, head, post, post_niu, post_segway};
use crate::support::{Fleet, TestDatabase, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let fleet = Fleet::api_only(&[("FLEET_API__BODY_TIMEOUT", "300ms")]).await;
    for framing in [("content-length", "11"), ("transfer-encoding", "chunked")] {
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(head("/webhooks/niu", &[NIU_TOKEN, framing])).await;
        assert_refused(&connection.answer().await, 408, "body_timeout");
    }
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
}

#[tokio::test]
async fn a_slow_head_closes_the_connection() {
    let fleet = Fleet::api_only(&[("FLEET_API__HEADER_TIMEOUT", "300ms")]).await;
    let mut fresh = Connection::open(&fleet.api).await;
    fresh.send("POST /webhooks/niu HTTP/1.1\r\nhost: f").await;
    let mut kept = Connection::open(&fleet.api).await;
    let request = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "11")]);
    kept.send(request + BODY).await;
    assert_eq!(kept.answer().await.status, 200);
    kept.send("POST /web").await;
    for mut connection in [fresh, kept] {
        let rest = String::from_utf8(connection.rest().await).unwrap();
        assert!(!rest.contains("200 OK"), "{rest}");
    }
    assert_eq!(fleet.queue("niu").await.accepted.messages, 1);
}

#[tokio::test]
async fn too_many_requests_at_work() {
    let fleet = Fleet::api_only(&[("FLEET_API__MAX_IN_FLIGHT", "1")]).await;
    let mut slow = Connection::open(&fleet.api).await;
    let headers = [NIU_TOKEN, ("content-length", "11"), ("expect", "100-continue")];
    slow.send(head("/webhooks/niu", &headers)).await;
    slow.continued().await;
    assert_refused(&post_niu(&fleet.api, BODY).await, 503, "busy");
    // An unauthenticated request gets 401 even if the API is busy.
    let stranger = post(&fleet.api, "/webhooks/niu", &[], BODY).await;
    assert_refused(&stranger, 401, "unauthorized");
    slow.send(BODY).await;
    assert_eq!(slow.answer().await.status, 200);
    eventually("room again", async || (post_niu(&fleet.api, BODY).await.status == 200).then_some(())).await;
}

/// Room for one body of 100 bytes, and 5 bytes more.
const LITTLE_ROOM: [(&str, &str); 2] =
    [("FLEET_API__MAX_BODY_BYTES", "100"), ("FLEET_API__MAX_IN_FLIGHT_BYTES", "105")];

#[tokio::test]
async fn too_many_bytes_at_work() {
    let fleet = Fleet::api_only(&LITTLE_ROOM).await;
    let mut slow = Connection::open(&fleet.api).await;
    let spaces = " ".repeat(99);
    slow.send(head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "100")]) + &spaces).await;
    // The API may not have read the slow request's bytes yet.
    let answer = eventually("its bytes to count", async || {
        let answer = post_niu(&fleet.api, BODY).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_refused(&answer, 503, "busy");
    assert_eq!(answer.header("retry-after"), Some("2"));
    slow.send(" ").await;
    assert_eq!(slow.answer().await.status, 200);
    eventually("room again", async || (post_niu(&fleet.api, BODY).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_stranger_who_announces_bodies_holds_up_nobody() {
    let fleet = Fleet::api_only(&LITTLE_ROOM).await;
    let mut strangers = Vec::new();
    for framing in [("content-length", "100"), ("transfer-encoding", "chunked"), ("content-length", "99")] {
        let mut stranger = Connection::open(&fleet.api).await;
        stranger.send(head("/webhooks/segway", &[framing, ("expect", "100-continue")])).await;
        stranger.continued().await;
        strangers.push(stranger);
    }
    assert_eq!(post_segway(&fleet.api, "iotCode=1").await.status, 200);
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    // An unauthenticated body takes no room from the providers after its bytes have arrived either.
    strangers[0].send(" ".repeat(99)).await;
    for _ in 0..10 {
        assert_eq!(post_segway(&fleet.api, "iotCode=1").await.status, 200);
        assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    }
    strangers[0].send(" ").await;
    assert_refused(&strangers[0].answer().await, 401, "unauthorized");
}

#[tokio::test]
async fn a_backlog_above_its_cap_is_refused_until_consumers_catch_up() {
    let database = TestDatabase::migrated().await;
    let mut fleet = Fleet::api_only(&[
        ("FLEET_DATABASE_URL", database.url()),
        ("FLEET_PROVIDERS__NIU__MAX_BACKLOG_BYTES", "300"),
        ("FLEET_API__RETRY_AFTER", "7s"),
    ])
    .await;
    let mut accepted = 0;
    let refused = loop {
        let answer = post_niu(&fleet.api, BODY).await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 10, "300 bytes have no room for ten envelopes");
    };
    assert_refused(&refused, 503, "backlog_full");
    assert_eq!(refused.header("retry-after"), Some("7"));
    let status = fleet.queue("niu").await;
    assert_eq!(status.accepted.messages, accepted);
    assert!(status.backlog().bytes > 300, "{status:?}");
    let segway = post_segway(&fleet.api, "iotCode=1").await;
    assert_eq!(segway.status, 200, "each provider has a backlog of its own");
    let stranger = post(&fleet.api, "/webhooks/niu", &[], BODY).await;
    assert_refused(&stranger, 401, "unauthorized");

    fleet.start_consumer();
    eventually("webhooks to be taken again", async || {
        (post_niu(&fleet.api, BODY).await.status == 200).then_some(())
    })
    .await;
    fleet.settled().await;
}

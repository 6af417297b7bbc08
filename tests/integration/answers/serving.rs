//! Connections, pushes that several webhooks share, and the server's shutdown.

use super::client::{Connection, NIU_TOKEN, assert_refused, head, post_niu};
use crate::support::{Fleet, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

fn request(headers: &[(&str, &str)]) -> String {
    let headers = [headers, &[("content-length", "11")]].concat();
    head("/webhooks/niu", &headers) + BODY
}

#[tokio::test]
async fn a_connection_is_kept() {
    let fleet = Fleet::api_only(&[]).await;
    let mut connection = Connection::open(&fleet.api).await;
    for _ in 0..3 {
        connection.send(request(&[NIU_TOKEN])).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    connection.send(request(&[NIU_TOKEN, ("connection", "close")])).await;
    assert_eq!(connection.answer().await.status, 200);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fleet = Fleet::api_only(&[]).await;
    let mut connection = Connection::open(&fleet.api).await;
    let empty = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "0")]);
    let good = request(&[NIU_TOKEN]);
    connection.send([good.as_str(), &empty, &good].concat()).await;
    let first = connection.answer().await;
    assert_eq!(first.status, 200);
    assert_refused(&connection.answer().await, 400, "empty_body");
    let third = connection.answer().await;
    assert_eq!(third.status, 200);
    assert!(first.message_id() < third.message_id());
}

#[tokio::test]
async fn concurrent_requests_are_all_pushed() {
    let fleet = Fleet::api_only(&[]).await;
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..20 {
        let api = fleet.api.clone();
        senders.spawn(async move {
            let mut connection = Connection::open(&api).await;
            let mut ids = Vec::new();
            for message in 10..20 {
                let body = format!(r#"{{"sn":"{sender}-{message}"}}"#);
                let length = body.len().to_string();
                let head = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", &length)]);
                connection.send(head + &body).await;
                let answer = connection.answer().await;
                assert_eq!(answer.status, 200);
                ids.push(answer.message_id());
            }
            ids
        });
    }
    let mut ids = senders.join_all().await.concat();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200, "every response has its own id");
    let status = fleet.queue("niu").await;
    assert_eq!((status.accepted.messages, status.waiting_messages), (200, 200));
    assert!(status.balances(), "{status:?}");
}

#[tokio::test]
async fn a_request_larger_than_a_push_is_pushed_alone() {
    let fleet =
        Fleet::api_only(&[("FLEET_API__COMMIT_MAX_BYTES", "100"), ("FLEET_API__COMMIT_MAX_MESSAGES", "2")])
            .await;
    let large = format!(r#"{{"sn":"A1","x":"{}"}}"#, "x".repeat(1000));
    let (small, big) = (post_niu(&fleet.api, BODY), post_niu(&fleet.api, large.clone()));
    let (a, b, c, d) =
        tokio::join!(small, big, post_niu(&fleet.api, BODY), post_niu(&fleet.api, large.clone()));
    assert_eq!([a.status, b.status, c.status, d.status], [200; 4]);
    assert_eq!(fleet.queue("niu").await.waiting_messages, 4);
}

#[tokio::test]
async fn requests_at_work_are_finished_at_shutdown() {
    let fleet = Fleet::api_only(&[]).await;
    let api = fleet.api.clone();
    let mut idle = Connection::open(&api).await;
    let mut slow = Connection::open(&api).await;
    let headers = [NIU_TOKEN, ("content-length", "11"), ("expect", "100-continue")];
    slow.send(head("/webhooks/niu", &headers)).await;
    slow.continued().await;
    let finishing = async {
        eventually("the listener to close", async || {
            let address = api.strip_prefix("http://").unwrap();
            tokio::net::TcpStream::connect(address).await.err()
        })
        .await;
        slow.send(BODY).await;
        let answer = slow.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(idle.rest().await, b"");
    };
    tokio::join!(fleet.stop(), finishing);
}

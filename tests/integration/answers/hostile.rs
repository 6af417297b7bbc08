//! Requests of unauthenticated clients that try to confuse the server or to use it up. The API responds as documented
//! and accepts valid webhooks meanwhile.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::client::{Connection, NIU_TOKEN, assert_refused, head, post_niu};
use crate::support::{DEADLINE, Fleet, TOKEN};

const BODY: &str = r#"{"sn":"A1"}"#;
const LENGTH: (&str, &str) = ("content-length", "11");

/// Posts valid webhooks, each on a new connection, for as long as the attack lasts. The API must accept all of them.
async fn while_good_traffic_goes_on<T>(fleet: &Fleet, attack: impl Future<Output = T>) -> T {
    let over = CancellationToken::new();
    let posting = async {
        let mut posted = 0;
        while !over.is_cancelled() || posted < 5 {
            assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
            posted += 1;
        }
    };
    let attacking = async {
        let result = attack.await;
        over.cancel();
        result
    };
    tokio::join!(attacking, posting).0
}

/// Sends bytes and returns what the server sends until it closes the connection. The server may also reset it.
async fn exchange(fleet: &Fleet, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(fleet.api.strip_prefix("http://").unwrap()).await.unwrap();
    let _cut = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

/// The statuses of the responses in `answers`.
fn statuses(answers: &str) -> Vec<u16> {
    let lines = answers.split("HTTP/1.").skip(1);
    lines.map(|rest| rest.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn what_is_not_http_is_answered_400() {
    let fleet = Fleet::api_only(&[]).await;
    let hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\0\0\0\0\x20\x13\x01\x13\x02\r\n\r\n";
    let cases: [&[u8]; 7] = [
        hello,
        b"\0\0\0\0\r\n\r\n",
        b"POST /webhooks/niu HTTP/9.9\r\n\r\n",
        b"POST /webhooks/niu\r\n\r\n",
        b"POST  /webhooks/niu HTTP/1.1\r\n\r\n",
        b"POST /webhooks/n\x00iu HTTP/1.1\r\nhost: f\r\n\r\n",
        b"POST /webhooks/niu HTTP/1.1\r\nbad name: x\r\n\r\n",
    ];
    while_good_traffic_goes_on(&fleet, async {
        for case in cases {
            let answer = exchange(&fleet, case).await;
            assert_eq!(statuses(&answer), [400], "{}: {answer}", String::from_utf8_lossy(case));
        }
        let http2 = exchange(&fleet, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        assert_eq!(http2, "", "HTTP/2 connections are closed without a response");
    })
    .await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_431() {
    let fleet = Fleet::api_only(&[]).await;
    let huge = "x".repeat(20_000);
    let line = |index| format!("x-{index}: y\r\n");
    let many: String = (0..200).map(line).collect();
    let endless: String = (0..5_000).map(line).collect();
    let bombs = [
        format!("POST /webhooks/niu HTTP/1.1\r\nx-huge: {huge}\r\n\r\n"),
        format!("POST /webhooks/niu HTTP/1.1\r\n{huge}: x\r\n\r\n"),
        format!("POST /webhooks/niu HTTP/1.1\r\n{many}\r\n"),
        format!("POST /webhooks/niu HTTP/1.1\r\n{endless}"),
        format!("POST /webhooks/{huge} HTTP/1.1\r\nhost: f\r\n\r\n"),
    ];
    while_good_traffic_goes_on(&fleet, async {
        for bomb in bombs {
            let answer = exchange(&fleet, bomb.as_bytes()).await;
            // If the server resets a connection on which the client still sends, the response may be lost on the way.
            let statuses = statuses(&answer);
            assert!(statuses == [431] || statuses.is_empty(), "{answer}: {}", &bomb[..60]);
        }
    })
    .await;
}

/// Request smuggling: a request of another provider is hidden where some parsers see the end of NIU's request and
/// others do not. Whatever the response to NIU's request is, the API must not accept the hidden request as a webhook.
#[tokio::test]
async fn no_request_is_smuggled_inside_another() {
    let fleet = Fleet::api_only(&[("FLEET_API__BODY_TIMEOUT", "500ms")]).await;
    let hidden = format!(
        "POST /webhooks/invers HTTP/1.1\r\nhost: f\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let chunked = format!("0\r\n\r\n{hidden}");
    let (whole, after_zero) = (hidden.len().to_string(), chunked.len().to_string());
    let both = format!("content-length: {after_zero}\r\ntransfer-encoding: chunked");
    let cases: Vec<(String, &str)> = vec![
        (both.clone(), &chunked),
        (format!("transfer-encoding: chunked\r\ncontent-length: {after_zero}"), &chunked),
        (format!("{both}\r\nconnection: keep-alive"), &chunked),
        (format!("content-length: 0\r\ncontent-length: {whole}"), &hidden),
        (format!("content-length: {whole}\r\ncontent-length: 0"), &hidden),
        (format!("content-length: 0, {whole}"), &hidden),
        ("content-length: +0".to_owned(), &hidden),
        ("content-length: -1".to_owned(), &hidden),
        ("content-length: 0x0".to_owned(), &hidden),
        ("content-length: 99999999999999999999999".to_owned(), &hidden),
        (format!("content-length: {after_zero}\r\ntransfer-encoding : chunked"), &chunked),
        (format!("content-length: {after_zero}\r\ntransfer-encoding: xchunked"), &chunked),
        (format!("content-length: {after_zero}\r\ntransfer-encoding: chunked, identity"), &chunked),
        (format!("content-length: {after_zero}\r\ntransfer-encoding:\r\n chunked"), &chunked),
        ("transfer-encoding: identity".to_owned(), &hidden),
        ("transfer-encoding: gzip".to_owned(), &hidden),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity".to_owned(), &chunked),
    ];
    while_good_traffic_goes_on(&fleet, async {
        for (framing, body) in cases {
            let request = format!(
                "POST /webhooks/niu HTTP/1.1\r\nhost: f\r\ntoken: {TOKEN}\r\n{framing}\r\n\r\n{body}"
            );
            let answer = exchange(&fleet, request.as_bytes()).await;
            assert!(statuses(&answer).len() <= 1, "two responses to {framing}: {answer}");
            let hidden = fleet.queue("invers").await.accepted.messages;
            assert_eq!(hidden, 0, "the hidden request was accepted: {framing}: {answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn chunks_that_lie_or_never_end_are_refused() {
    let settings = [("FLEET_API__BODY_TIMEOUT", "500ms"), ("FLEET_API__MAX_BODY_BYTES", "1000")];
    let fleet = Fleet::api_only(&settings).await;
    let request = head("/webhooks/niu", &[NIU_TOKEN, ("transfer-encoding", "chunked")]);
    let extension = format!("b;{}\r\n{BODY}\r\n0\r\n\r\n", "x".repeat(20_000));
    let small = "1\r\nx\r\n".repeat(1_001);
    let cases: [(&str, u16, &str); 9] = [
        ("ffffffffffffffff\r\n{}", 408, "body_timeout"),
        ("10000000000000000\r\n{}", 400, "body_incomplete"),
        ("-1\r\n{}", 400, "body_incomplete"),
        ("2\r\n{}{}\r\n0\r\n\r\n", 400, "body_incomplete"),
        ("b\r\n{}\r\n0\r\n\r\n", 408, "body_timeout"),
        (&extension, 400, "body_incomplete"),
        (&small, 413, "too_large"),
        ("3e9\r\n", 408, "body_timeout"),
        ("0\r\n\r\n", 400, "empty_body"),
    ];
    while_good_traffic_goes_on(&fleet, async {
        for (chunks, status, error) in cases {
            let mut connection = Connection::open(&fleet.api).await;
            connection.send(format!("{request}{chunks}")).await;
            let answer = connection.answer().await;
            assert_eq!(answer.refusal(), (status, error.to_owned()), "{}", &chunks[..20.min(chunks.len())]);
        }
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(format!("{request}b;name=\"value\"\r\n{BODY}\r\n0\r\ntrailer: x\r\n\r\n")).await;
        assert_eq!(connection.answer().await.status, 200, "short extensions and trailers are legal");
    })
    .await;
}

#[tokio::test]
async fn paths_are_taken_literally_and_no_tricks_lead_to_a_provider() {
    let fleet = Fleet::api_only(&[]).await;
    let long = format!("/webhooks/{}", "a".repeat(8_000));
    let nobodys = [
        "/webhooks/%6e%69%75",
        "/webhooks/%256eiu",
        "/webhooks/x/%2e%2e/niu",
        "/webhooks/x/../niu",
        "/webhooks/./niu",
        "/webhooks/niu%00",
        "/webhooks/niu%00/status",
        "/webhooks/niu%2f",
        "/webhooks/niu;x=1",
        "/webhooks/niu/%2e%2e/invers",
        "/webhooks/niu/%",
        "/webhooks//niu",
        "/webhooks/niu%3ftoken",
        "/%77ebhooks/niu",
        "*",
        "http://fleet/other",
        &long,
    ];
    while_good_traffic_goes_on(&fleet, async {
        for target in nobodys {
            let mut connection = Connection::open(&fleet.api).await;
            connection.send(head(target, &[NIU_TOKEN, LENGTH]) + BODY).await;
            let answer = connection.answer().await;
            assert_eq!(answer.refusal(), (404, "unknown_provider".to_owned()), "{target}");
        }
    })
    .await;
    for target in
        ["http://fleet/webhooks/niu", "https://evil.example/webhooks/niu", "/webhooks/niu/../invers"]
    {
        let before = fleet.queue("niu").await.accepted.messages;
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(head(target, &[NIU_TOKEN, LENGTH]) + BODY).await;
        assert_eq!(connection.answer().await.status, 200, "an absolute target, or a topic as sent: {target}");
        assert_eq!(fleet.queue("niu").await.accepted.messages, before + 1, "{target}");
    }
    let mut connection = Connection::open(&fleet.api).await;
    connection
        .send(format!("POST /webhooks/niu HTTP/1.0\r\ntoken: {TOKEN}\r\ncontent-length: 11\r\n\r\n{BODY}"))
        .await;
    assert_eq!(connection.answer().await.status, 200, "HTTP/1.0");
    assert_eq!(connection.rest().await, b"", "the connection ends");
    let mut connection = Connection::open(&fleet.api).await;
    connection.send("CONNECT fleet:443 HTTP/1.1\r\nhost: fleet\r\n\r\n").await;
    assert_refused(&connection.answer().await, 404, "unknown_provider");
}

#[tokio::test]
async fn slow_heads_and_bodies_hold_up_nobody() {
    const STRANGERS: usize = 200;
    let settings = [("FLEET_API__HEADER_TIMEOUT", "1s"), ("FLEET_API__BODY_TIMEOUT", "1s")];
    let fleet = Fleet::api_only(&settings).await;
    while_good_traffic_goes_on(&fleet, async {
        let mut strangers = tokio::task::JoinSet::new();
        for stranger in 0..STRANGERS {
            let api = fleet.api.clone();
            strangers.spawn(async move {
                let is_head = stranger.is_multiple_of(2);
                let address = api.strip_prefix("http://").unwrap();
                let mut stream = TcpStream::connect(address).await.unwrap();
                let start = head("/webhooks/segway", &[("content-length", "1000")]);
                let start = if is_head { "POST /webhooks/niu HTTP/1.1\r\nx: " } else { &start };
                stream.write_all(start.as_bytes()).await.unwrap();
                // Sends a byte now and then until the server ends the connection.
                let (mut reader, mut writer) = stream.into_split();
                let dripping = async {
                    while writer.write_all(b"x").await.is_ok() {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                    std::future::pending::<()>().await;
                };
                let mut answer = Vec::new();
                tokio::select! {
                    _end = reader.read_to_end(&mut answer) => {}
                    () = dripping => {}
                    () = tokio::time::sleep(DEADLINE) => panic!("the server did not end the connection"),
                }
                (is_head, statuses(&String::from_utf8(answer).unwrap()))
            });
        }
        while let Some(ended) = strangers.join_next().await {
            let (is_head, statuses) = ended.unwrap();
            let expected: &[u16] = if is_head { &[] } else { &[408] };
            assert_eq!(statuses, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_long_pipeline_is_answered_one_by_one() {
    let fleet = Fleet::api_only(&[]).await;
    while_good_traffic_goes_on(&fleet, async {
        let mut connection = Connection::open(&fleet.api).await;
        let good = head("/webhooks/niu", &[NIU_TOKEN, LENGTH]) + BODY;
        let refused = head("/webhooks/invers", &[("authorization", "Bearer wrong"), LENGTH]) + BODY;
        connection.send(good + &refused.repeat(300)).await;
        assert_eq!(connection.answer().await.status, 200);
        for _ in 0..300 {
            assert_refused(&connection.answer().await, 401, "unauthorized");
        }
    })
    .await;
}

/// An unauthenticated client might keep sending requests and never read a response.
#[tokio::test]
async fn a_refusal_of_an_unknown_sender_ends_its_pipeline() {
    let fleet = Fleet::api_only(&[]).await;
    while_good_traffic_goes_on(&fleet, async {
        let refused = head("/webhooks/invers", &[("authorization", "Bearer wrong"), LENGTH]) + BODY;
        let answers = exchange(&fleet, refused.repeat(300).as_bytes()).await;
        // If the server resets a connection on which the client still sends, the response may be lost on the way.
        assert!(statuses(&answers) == [401] || answers.is_empty(), "{answers}");
    })
    .await;
}

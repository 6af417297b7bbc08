//! Senders that nobody knows and that take what they can get: connections, bytes, time. The providers' webhooks are taken
//! all the while.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Answer, Connection, FORM, NIU_TOKEN, assert_refused, head, post, post_niu, post_segway};
use crate::support::{Fleet, SEGWAY_SECRET, TOKEN, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

/// Where a signature in the body is all that proves the sender.
const SEGWAY: &str = "/webhooks/segway/vehicle/status";

/// Ends with the value.
struct Flood {
    _attackers: JoinSet<()>,
}

impl Flood {
    /// So many attackers. Each opens a connection, sends `beginning`, goes on with a space a while, and comes back at once
    /// when its connection is closed.
    fn start(fleet: &Fleet, attackers: usize, beginning: &str) -> Self {
        Self::start_with(fleet, attackers, beginning, Duration::from_millis(20))
    }

    fn start_with(fleet: &Fleet, attackers: usize, beginning: &str, pause: Duration) -> Self {
        let mut tasks = JoinSet::new();
        for _ in 0..attackers {
            let address = fleet.api.strip_prefix("http://").unwrap().to_owned();
            let beginning = beginning.to_owned();
            tasks.spawn(async move {
                loop {
                    trickle(&address, &beginning).await;
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { _attackers: tasks }
    }
}

async fn trickle(address: &str, beginning: &str) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    if stream.write_all(beginning.as_bytes()).await.is_err() {
        return;
    }
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return },
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if stream.write_all(b" ").await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Posts of every provider, each on a connection of its own; all must be taken.
async fn assert_all_are_taken(fleet: &Fleet, rounds: usize) {
    for _ in 0..rounds {
        let bearer = format!("Bearer {TOKEN}");
        let invers = [("authorization", bearer.as_str())];
        let (niu, segway, invers) = tokio::join!(
            post_niu(&fleet.api, BODY),
            post_segway(&fleet.api, "iotCode=1"),
            post(&fleet.api, "/webhooks/invers", &invers, "{}"),
        );
        assert_eq!([niu.status, segway.status, invers.status], [200; 3], "{niu:?} {segway:?} {invers:?}");
    }
}

#[tokio::test]
async fn connections_of_unknown_senders_make_room_for_the_providers() {
    let settings = [("FLEET_API__MAX_CONNECTIONS", "32"), ("FLEET_API__HEADER_TIMEOUT", "60s")];
    for beginning in ["", "POST /webhooks/niu HTTP/1.1\r\nhost: "] {
        let fleet = Fleet::api_only(&settings).await;
        let mut kept = Connection::open(&fleet.api).await;
        let request = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "11")]) + BODY;
        kept.send(&request).await;
        assert_eq!(kept.answer().await.status, 200);
        let flood = Flood::start(&fleet, 100, beginning);
        assert_all_are_taken(&fleet, 20).await;
        drop(flood);
        kept.send(&request).await;
        assert_eq!(kept.answer().await.status, 200, "an authenticated connection stays");
    }
}

#[tokio::test]
async fn bodies_without_a_signature_take_nobodys_place() {
    let bounds: [&[(&str, &str)]; 2] = [
        // Fewer requests than attackers.
        &[("FLEET_API__MAX_IN_FLIGHT", "8"), ("FLEET_API__BODY_TIMEOUT", "60s")],
        // Fewer connections than attackers.
        &[("FLEET_API__MAX_CONNECTIONS", "32"), ("FLEET_API__BODY_TIMEOUT", "60s")],
    ];
    for settings in bounds {
        let fleet = Fleet::api_only(settings).await;
        for framing in [("content-length", "1000"), ("transfer-encoding", "chunked")] {
            let _flood = Flood::start(&fleet, 100, &head(SEGWAY, &[FORM, framing]));
            assert_all_are_taken(&fleet, 20).await;
        }
    }
}

/// As a balancer sends them that does not wait for a body's end: over connections that have brought good webhooks.
#[tokio::test]
async fn an_authenticated_connection_with_the_body_of_somebody_else_makes_room() {
    let settings = [
        ("FLEET_API__MAX_CONNECTIONS", "8"),
        ("FLEET_API__BODY_TIMEOUT", "60s"),
        ("FLEET_API__HEADER_TIMEOUT", "1s"),
    ];
    let fleet = Fleet::api_only(&settings).await;
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "11")]) + BODY).await;
        assert_eq!(connection.answer().await.status, 200);
        connections.push(connection);
    }
    for connection in &mut connections {
        let headers = [FORM, ("content-length", "1000"), ("expect", "100-continue")];
        connection.send(head(SEGWAY, &headers)).await;
        connection.continued().await;
    }
    assert_all_are_taken(&fleet, 20).await;
    // The others go on where they were.
    let mut open = 0;
    for mut connection in connections {
        connection.try_send(" ".repeat(1000)).await;
        open += usize::from(connection.rest_or_cut().await.starts_with(b"HTTP/1.1 401"));
    }
    assert!((1..8).contains(&open), "{open}");
}

#[tokio::test]
async fn large_bodies_that_stop_before_their_end_make_room() {
    let settings =
        [("FLEET_PROVIDERS__SEGWAY__MAX_BODY_BYTES", "1048576"), ("FLEET_API__BODY_TIMEOUT", "60s")];
    let fleet = Fleet::api_only(&settings).await;
    let almost = head(SEGWAY, &[FORM, ("content-length", "1048576")]) + &"x".repeat(1_000_000);
    // More than may be awaited, and again and again.
    let _flood = Flood::start_with(&fleet, 12, &almost, Duration::from_secs(1));
    for _ in 0..20 {
        assert_all_are_taken(&fleet, 1).await;
        // A large one that does not stop is taken as well.
        let large = format!("iotCode=1&padding={}", "x".repeat(500_000));
        assert_eq!(post_segway(&fleet.api, &large).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_without_a_known_sender_is_small() {
    let fleet = Fleet::api_only(&[("FLEET_PROVIDERS__NIU__AUTH", "hmac-sha256:x-signature")]).await;
    let padded = |bytes: usize| format!("iotCode=1&padding={}", "x".repeat(bytes));
    assert_eq!(post_segway(&fleet.api, &padded(16_000)).await.status, 200);
    assert_refused(&post_segway(&fleet.api, &padded(16_384)).await, 413, "too_large");
    let signed = async |bytes: usize| -> Answer {
        let body = " ".repeat(bytes - BODY.len()) + BODY;
        post(&fleet.api, "/webhooks/niu", &[("x-signature", "00")], body).await
    };
    assert_refused(&signed(65_536).await, 401, "unauthorized");
    assert_refused(&signed(65_537).await, 413, "too_large");
    let (bearer, large) = (format!("Bearer {TOKEN}"), format!("[\"{}\"]", "x".repeat(1_000_000)));
    let known = post(&fleet.api, "/webhooks/invers", &[("authorization", &bearer)], large).await;
    assert_eq!(known.status, 200);
}

#[tokio::test]
async fn a_signed_form_has_few_parameters() {
    let fleet = Fleet::api_only(&[("FLEET_PROVIDERS__SEGWAY__MAX_BODY_BYTES", "1048576")]).await;
    let form = |parameters: usize| {
        let names = (0..parameters - 2).map(|number| format!("&p{number:06}=1"));
        format!("iotCode=1{}", names.collect::<String>())
    };
    // With the signature.
    assert_eq!(post_segway(&fleet.api, &form(128)).await.status, 200);
    assert_refused(&post_segway(&fleet.api, &form(129)).await, 401, "unauthorized");
}

/// A provider without a secret cannot be told from anybody else, but its webhooks are taken, also in a flood.
#[tokio::test]
async fn a_provider_that_proves_nothing_is_served() {
    let settings = [
        ("FLEET_PROVIDERS__NIU__AUTH", "none"),
        ("FLEET_PROVIDERS__NIU__SECRETS", ""),
        ("FLEET_API__MAX_CONNECTIONS", "32"),
        ("FLEET_API__HEADER_TIMEOUT", "60s"),
    ];
    let fleet = Fleet::api_only(&settings).await;
    let _flood = Flood::start(&fleet, 100, "");
    for _ in 0..20 {
        assert_eq!(post(&fleet.api, "/webhooks/niu", &[], BODY).await.status, 200);
    }
}

/// Whoever opens connections is told apart by what they bring, not by where they come from: all of these have one address.
#[tokio::test]
async fn after_a_flood_every_connection_is_there_again() {
    let settings = [("FLEET_API__MAX_CONNECTIONS", "16")];
    let fleet = Fleet::api_only(&settings).await;
    drop(Flood::start(&fleet, 50, &head(SEGWAY, &[FORM, ("content-length", "1000")])));
    let mut connections = Vec::new();
    for _ in 0..16 {
        let request = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "11")]) + BODY;
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(&request).await;
        assert_eq!(connection.answer().await.status, 200);
        connections.push((connection, request));
    }
    for (connection, request) in &mut connections {
        connection.send(&*request).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    let signed = super::client::signed("iotCode=1", SEGWAY_SECRET);
    drop(connections);
    eventually("room for another provider", async || {
        (post(&fleet.api, SEGWAY, &[FORM], signed.clone()).await.status == 200).then_some(())
    })
    .await;
}

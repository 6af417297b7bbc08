//! Unauthenticated clients that take as many connections, bytes and as much time as they can. The API must accept the
//! providers' webhooks meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Answer, Connection, FORM, NIU_TOKEN, assert_refused, head, post, post_niu, post_segway};
use crate::support::{Fleet, SEGWAY_SECRET, TOKEN, eventually};

const BODY: &str = r#"{"sn":"A1"}"#;

/// A path where only the signature in the body authenticates the sender.
const SEGWAY: &str = "/webhooks/segway/vehicle/status";

/// Runs until it is dropped.
struct Flood {
    cut: Arc<AtomicUsize>,
    _attackers: JoinSet<()>,
}

impl Flood {
    /// Starts this many attackers. Each opens a connection and sends `beginning`. If `beginning` is not empty, it then
    /// sends a space every 100 ms. When its connection is closed, it reconnects.
    fn start(fleet: &Fleet, attackers: usize, beginning: &str) -> Self {
        Self::start_with(fleet, attackers, beginning, Duration::from_millis(20))
    }

    fn start_with(fleet: &Fleet, attackers: usize, beginning: &str, pause: Duration) -> Self {
        let cut = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..attackers {
            let address = fleet.api.strip_prefix("http://").unwrap().to_owned();
            let (beginning, cut) = (beginning.to_owned(), Arc::clone(&cut));
            tasks.spawn(async move {
                loop {
                    trickle(&address, &beginning).await;
                    cut.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { cut, _attackers: tasks }
    }

    /// Waits until attackers have lost connections, which shows that they want more of them than the API has.
    async fn makes_room(&self) {
        eventually("attackers to lose connections", async || {
            (self.cut.load(Ordering::Relaxed) > 5).then_some(())
        })
        .await;
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
            // Without a beginning, a space would be invalid HTTP and would end the connection.
            () = tokio::time::sleep(Duration::from_millis(100)), if !beginning.is_empty() => {
                if stream.write_all(b" ").await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Posts webhooks of every provider, each on a new connection. The API must accept all of them.
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
        flood.makes_room().await;
        assert_all_are_taken(&fleet, 20).await;
        drop(flood);
        kept.send(&request).await;
        assert_eq!(kept.answer().await.status, 200, "an authenticated connection stays");
    }
}

#[tokio::test]
async fn bodies_without_a_signature_take_nobodys_place() {
    // The API allows fewer requests in flight than there are attackers.
    let fleet =
        Fleet::api_only(&[("FLEET_API__MAX_IN_FLIGHT", "8"), ("FLEET_API__BODY_TIMEOUT", "60s")]).await;
    for framing in [("content-length", "1000"), ("transfer-encoding", "chunked")] {
        let _flood = Flood::start(&fleet, 100, &head(SEGWAY, &[FORM, framing]));
        assert_all_are_taken(&fleet, 20).await;
    }
    // The API allows fewer connections than there are attackers.
    let fleet =
        Fleet::api_only(&[("FLEET_API__MAX_CONNECTIONS", "32"), ("FLEET_API__BODY_TIMEOUT", "60s")]).await;
    for framing in [("content-length", "1000"), ("transfer-encoding", "chunked")] {
        let flood = Flood::start(&fleet, 100, &head(SEGWAY, &[FORM, framing]));
        flood.makes_room().await;
        assert_all_are_taken(&fleet, 20).await;
    }
}

/// A client that writes headers and body separately sends the body after the headers were acknowledged, one round trip
/// later.
#[tokio::test]
async fn a_body_that_follows_its_head_later_is_taken_among_many_that_stop() {
    let settings = [("FLEET_API__MAX_UNAUTHENTICATED_BYTES", "65536"), ("FLEET_API__BODY_TIMEOUT", "60s")];
    let fleet = Fleet::api_only(&settings).await;
    let almost = head(SEGWAY, &[FORM, ("content-length", "16384")]) + &"x".repeat(16_383);
    let flood = Flood::start(&fleet, 40, &almost);
    flood.makes_room().await;
    let body = super::client::signed("iotCode=1", SEGWAY_SECRET);
    let length = body.len().to_string();
    for _ in 0..3 {
        let mut slow = Connection::open(&fleet.api).await;
        slow.send(head(SEGWAY, &[FORM, ("content-length", &length)])).await;
        // The round trip of a client on another continent. There is no condition to wait for.
        tokio::time::sleep(Duration::from_millis(250)).await;
        slow.send(&body).await;
        assert_eq!(slow.answer().await.status, 200);
    }
}

#[tokio::test]
async fn one_provider_leaves_connections_to_the_others() {
    let settings = [
        ("FLEET_API__MAX_CONNECTIONS", "16"),
        ("FLEET_API__MAX_IN_FLIGHT", "8"),
        ("FLEET_API__HEADER_TIMEOUT", "60s"),
    ];
    let fleet = Fleet::api_only(&settings).await;
    let request = head("/webhooks/niu", &[NIU_TOKEN, ("content-length", "11")]) + BODY;
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut connection = Connection::open(&fleet.api).await;
        connection.send(&request).await;
        assert_eq!(connection.answer().await.status, 200);
        idle.push(connection);
    }
    assert_all_are_taken(&fleet, 5).await;
}

/// A load balancer that does not buffer whole bodies sends such requests over connections that have carried valid
/// webhooks.
#[tokio::test]
async fn an_authenticated_connection_with_the_body_of_somebody_else_makes_room() {
    let settings = [
        ("FLEET_API__MAX_CONNECTIONS", "48"),
        ("FLEET_API__BODY_TIMEOUT", "60s"),
        ("FLEET_API__HEADER_TIMEOUT", "1s"),
    ];
    let fleet = Fleet::api_only(&settings).await;
    let mut connections = Vec::new();
    for _ in 0..48 {
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
    assert_all_are_taken(&fleet, 3).await;
    // The connections that are still open continue normally.
    let mut open = 0;
    for mut connection in connections {
        connection.try_send(" ".repeat(1000)).await;
        open += usize::from(connection.rest_or_cut().await.starts_with(b"HTTP/1.1 401"));
    }
    assert!((1..48).contains(&open), "{open}");
}

#[tokio::test]
async fn large_bodies_that_stop_before_their_end_make_room() {
    let settings =
        [("FLEET_PROVIDERS__SEGWAY__MAX_BODY_BYTES", "1048576"), ("FLEET_API__BODY_TIMEOUT", "60s")];
    let fleet = Fleet::api_only(&settings).await;
    let almost = head(SEGWAY, &[FORM, ("content-length", "1048576")]) + &"x".repeat(1_000_000);
    // The bodies need more memory than the API allows for unfinished ones, and the attackers keep reconnecting.
    let flood = Flood::start_with(&fleet, 12, &almost, Duration::from_secs(1));
    flood.makes_room().await;
    for _ in 0..20 {
        assert_all_are_taken(&fleet, 1).await;
        // The API accepts a large body that does arrive completely.
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
    // 128 parameters, the signature included.
    assert_eq!(post_segway(&fleet.api, &form(128)).await.status, 200);
    assert_refused(&post_segway(&fleet.api, &form(129)).await, 401, "unauthorized");
}

/// The API cannot tell a provider without a secret from other clients, but it accepts its webhooks during a flood.
#[tokio::test]
async fn a_provider_that_proves_nothing_is_served() {
    let settings = [
        ("FLEET_PROVIDERS__NIU__AUTH", "none"),
        ("FLEET_PROVIDERS__NIU__SECRETS", ""),
        ("FLEET_API__MAX_CONNECTIONS", "32"),
        ("FLEET_API__HEADER_TIMEOUT", "60s"),
    ];
    let fleet = Fleet::api_only(&settings).await;
    let flood = Flood::start(&fleet, 100, "");
    flood.makes_room().await;
    for _ in 0..20 {
        assert_eq!(post(&fleet.api, "/webhooks/niu", &[], BODY).await.status, 200);
    }
}

/// The API distinguishes clients by what they send, not by their address: all of these have the same address.
#[tokio::test]
async fn after_a_flood_every_connection_is_there_again() {
    let settings = [("FLEET_API__MAX_CONNECTIONS", "16"), ("FLEET_API__BODY_TIMEOUT", "60s")];
    let fleet = Fleet::api_only(&settings).await;
    let flood = Flood::start(&fleet, 50, &head(SEGWAY, &[FORM, ("content-length", "1000")]));
    flood.makes_room().await;
    drop(flood);
    let mut connections = Vec::new();
    // One provider keeps four connections.
    for _ in 0..4 {
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

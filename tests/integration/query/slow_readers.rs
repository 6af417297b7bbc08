//! Readers that take a response byte by byte.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::fleet::vehicle_at;
use super::rig::Rig;
use crate::support::DEADLINE;

/// Longer than the bound of these tests.
const SLOWLY: Duration = Duration::from_secs(3);

async fn ask(rig: &Rig, path: &str) -> TcpStream {
    let address = rig.service.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // With the system's own buffer, the kernel would take whole responses.
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Reads slowly for some time, then as fast as it can, until `ended` or the end of the connection. Returns the last bytes.
async fn read(stream: &mut TcpStream, ended: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (started, mut last, mut piece) = (Instant::now(), Vec::new(), [0; 1024]);
    while !ended(&last) {
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut piece)).await.expect("silence");
        // A connection that is closed with unread data may end with an error.
        let Some(count) = read.ok().filter(|count| *count > 0) else { break };
        last.extend_from_slice(&piece[..count]);
        let surplus = last.len().saturating_sub(64);
        last.drain(..surplus);
        if started.elapsed() < SLOWLY {
            // The reader's own speed.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    last
}

const TIMEOUT: [(&str, &str); 1] = [("FLEET_QUERY__RESPONSE_TIMEOUT", "1s")];

fn is_complete(last: &[u8]) -> bool {
    last.ends_with(b"\r\n0\r\n\r\n")
}

#[tokio::test]
async fn a_response_that_is_read_too_slowly_is_cut_off() {
    let fleet: Vec<_> = (0..5000).map(|n| vehicle_at(&format!("n{n}"), 1.0, 2.0)).collect();
    let rig = Rig::start_with(&fleet, &TIMEOUT).await;
    let mut stream = ask(&rig, "/v1/vehicles?limit=10000").await;
    let last = read(&mut stream, is_complete).await;
    assert!(!is_complete(&last), "{}", String::from_utf8_lossy(&last));
    // The bound is for each request, not for a connection.
    let mut stream = ask(&rig, "/v1/vehicles?limit=1").await;
    assert!(is_complete(&read(&mut stream, is_complete).await));
    let mut stream = ask(&rig, "/v1/vehicles?limit=10000").await;
    let started = Instant::now();
    let mut whole = Vec::new();
    while !is_complete(&whole) {
        let count = stream.read_buf(&mut whole).await.unwrap();
        assert!(count > 0, "{} bytes", whole.len());
    }
    assert!(started.elapsed() < Duration::from_secs(1), "a quick reader gets all in time");
}

#[tokio::test]
async fn a_stream_may_take_any_time() {
    let rig = Rig::start_with(&[vehicle_at("one", 1.0, 2.0)], &TIMEOUT).await;
    let mut stream = ask(&rig, "/v1/vehicles/stream").await;
    let started = Instant::now();
    let last = read(&mut stream, |_last| started.elapsed() > SLOWLY).await;
    assert!(!last.is_empty() && started.elapsed() > SLOWLY, "the stream was cut off");
}

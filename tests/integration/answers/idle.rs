//! Many connections that do nothing.

use std::time::Duration;

use fleet_testbed::MemoryLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{Connection, head, post_niu};
use crate::process::program::{Program, Site, report};
use crate::support::{DEADLINE, Fleet, TOKEN};

const BODY: &str = r#"{"sn":"A1"}"#;

/// The default of `FLEET_API__MAX_CONNECTIONS`.
const MAX_CONNECTIONS: usize = 2_048;

/// The most memory that one idle connection may take in the process.
const CONNECTION_BYTES: usize = 32 * 1024;

/// The memory limit of `deploy/k8s/base`.
const LIMIT: u64 = 384 << 20;

/// Raises the limit of open files of this process, and of the programs that it starts, as far as possible. Returns the
/// limit.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap())
}

#[tokio::test]
async fn ten_thousand_idle_connections_hold_up_nobody_and_take_little_memory() {
    // Leave files for the tests that run at the same time.
    let strangers = 10_000.min(open_files().saturating_sub(3_000));
    assert!(strangers >= 4_000, "raise the limit of open files: `ulimit -Hn` must be 7000 or more");
    let site = Site::new("postgres://nobody@127.0.0.1:1/none");
    let mut api = Program::start(site.api(&[]).env("FLEET_API__HEADER_TIMEOUT", "2m"));
    // Without control groups the test reads the memory of the process instead.
    let group = MemoryLimits::find().ok().map(|limits| limits.group(LIMIT).unwrap());
    group.iter().for_each(|group| group.add(api.id()).unwrap());
    api.readiness(200).await;
    let url = api.webhooks();
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let resident = api.resident_bytes();
    // Incomplete headers, about as long as the API reads them.
    let beginning = format!("POST /webhooks/niu HTTP/1.1\r\nx: {}", "y".repeat(15_000));
    let mut idle = Vec::with_capacity(strangers);
    for stranger in 0..strangers {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        if stranger.is_multiple_of(2) {
            stream.write_all(beginning.as_bytes()).await.unwrap();
        }
        idle.push(stream);
    }
    let client = reqwest::Client::new();
    for number in 0..50 {
        let post = client.post(&url).header("token", TOKEN).body(report(number));
        let answer = tokio::time::timeout(Duration::from_secs(5), post.send()).await;
        assert_eq!(answer.expect("an answer in time").unwrap().status(), 200);
    }
    let grown = api.peak_bytes() - resident;
    assert!(grown < MAX_CONNECTIONS * CONNECTION_BYTES, "{grown} bytes");
    assert!(group.as_ref().is_none_or(|group| !group.has_killed()));
    api.assert_running();
    assert_eq!(site.queue().await.accepted.messages, 50);
}

/// The API closes idle connections at the header timeout, even if no other client needs the room.
#[tokio::test]
async fn strangers_who_take_every_connection_lose_them_again() {
    let settings = [("FLEET_API__MAX_CONNECTIONS", "4"), ("FLEET_API__HEADER_TIMEOUT", "700ms")];
    let fleet = Fleet::api_only(&settings).await;
    let mut strangers = Vec::new();
    for _ in 0..12 {
        strangers.push(Connection::open(&fleet.api).await);
    }
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
    for mut stranger in strangers {
        assert_eq!(stranger.rest().await, b"");
    }
}

/// A client that never reads its responses must not keep a connection for ever.
#[tokio::test]
async fn a_stranger_who_reads_no_answers_loses_the_connection() {
    let settings = [("FLEET_API__MAX_CONNECTIONS", "1"), ("FLEET_API__HEADER_TIMEOUT", "700ms")];
    let fleet = Fleet::api_only(&settings).await;
    let address = fleet.api.strip_prefix("http://").unwrap();
    let mut stranger = TcpStream::connect(address).await.unwrap();
    let requests = head("/webhooks/acme", &[("content-length", "0")]).repeat(200);
    let writing = async { while stranger.write_all(requests.as_bytes()).await.is_ok() {} };
    // The responses fill every buffer. Then nothing moves until the server closes the connection.
    tokio::time::timeout(DEADLINE, writing).await.expect("the server cuts it off");
    assert_eq!(post_niu(&fleet.api, BODY).await.status, 200);
}

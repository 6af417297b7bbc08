//! Standard error that cannot be written, or that nobody reads: only the log is affected.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Write, pipe};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_getpipe_size;
use rustix::process::Signal;

use super::program::{Program, Site, prepared, report};
use super::shutdown::assert_stored_once;
use crate::support::{TOKEN, TestDatabase, eventually};

/// Nothing listens on this port.
const NOWHERE: &str = "127.0.0.1:1";
const WRITE_FAILED: &str = r#"fleet_runtime_log_lines_dropped_total{reason="write_failed"}"#;
const BUFFER_FULL: &str = r#"fleet_runtime_log_lines_dropped_total{reason="buffer_full"}"#;
/// The longest time from SIGTERM to the end: a second for the last log lines, and another for idle connections.
const PROMPT: Duration = Duration::from_secs(10);

fn full_disk() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// The write end of a pipe without a reader.
fn deserted() -> Stdio {
    let (_reader, writer) = pipe().unwrap();
    writer.into()
}

/// A full pipe whose reader exists and does not read.
fn stalled() -> (PipeReader, Stdio) {
    let (reader, mut writer) = pipe().unwrap();
    let capacity = fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'\n'; capacity]).unwrap();
    (reader, writer.into())
}

/// An API that also logs each accepted webhook.
fn talkative_api(site: &Site) -> Command {
    let mut command = site.api(&[]);
    command.env("FLEET_LOG", "debug");
    command
}

async fn post(client: &reqwest::Client, api: &Program, number: usize) -> u16 {
    let posted = client.post(api.webhooks()).header("token", TOKEN).body(report(number)).send();
    posted.await.unwrap().status().as_u16()
}

async fn assert_ends_promptly(program: Program) {
    let signalled = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code, Some(0));
    let took = signalled.elapsed();
    assert!(took < PROMPT, "{took:?}");
}

async fn assert_serves_to_the_end(site: &Site, mut api: Program) {
    api.readiness(200).await;
    let client = reqwest::Client::new();
    for number in 0..20 {
        assert_eq!(post(&client, &api, number).await, 200);
    }
    eventually("the lines to be counted", async || (api.metric(WRITE_FAILED).await >= 20.0).then_some(()))
        .await;
    assert_ends_promptly(api).await;
    assert_eq!(site.queue().await.waiting_messages, 20);
}

#[tokio::test]
async fn the_api_serves_although_its_log_cannot_be_written() {
    let database = format!("postgres://nobody@{NOWHERE}/none");
    for errors in [full_disk().into(), deserted()] {
        let site = Site::new(&database);
        let api = Program::start_with_errors(&mut talkative_api(&site), errors);
        assert_serves_to_the_end(&site, api).await;
    }
    // If a file reaches its size limit, the kernel sends SIGXFSZ.
    let site = Site::new(&database);
    let api = Program::start(&mut prepared(&talkative_api(&site), "ulimit -f 0"));
    assert_serves_to_the_end(&site, api).await;
}

#[tokio::test]
async fn the_consumer_works_although_its_log_cannot_be_written() {
    for errors in [full_disk().into(), deserted()] {
        let database = TestDatabase::migrated().await;
        let site = Site::new(database.url());
        site.fill(50).await;
        let mut consumer = Program::start_with_errors(&mut site.consumer(&[]), errors);
        consumer.readiness(200).await;
        site.settled().await;
        assert!(consumer.metric(WRITE_FAILED).await > 0.0);
        assert_ends_promptly(consumer).await;
        assert_stored_once(&site, &database, 50).await;
    }
}

#[tokio::test]
async fn webhooks_are_answered_although_nobody_reads_the_log() {
    let mut site = Site::new(&format!("postgres://nobody@{NOWHERE}/none"));
    site.redis = format!("redis://{NOWHERE}");
    let (_reader, errors) = stalled();
    let mut command = talkative_api(&site);
    let api = Program::start_with_errors(command.env("FLEET_QUEUE__TIMEOUT", "1s"), errors);
    eventually("the API to listen", async || (api.status("/livez").await == Some(200)).then_some(())).await;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build().unwrap();
    for number in 0..500 {
        assert_eq!(post(&client, &api, number).await, 503, "webhook {number}");
    }
    assert_eq!(api.status("/livez").await, Some(200));

    let mut number = 500;
    while api.metric(BUFFER_FULL).await == 0.0 {
        assert!(number < 50_000, "nothing was dropped");
        let posts = (number..number + 500).map(|number| post(&client, &api, number));
        for status in futures_util::future::join_all(posts).await {
            assert_eq!(status, 503);
        }
        number += 500;
    }
    assert_eq!(api.metric(WRITE_FAILED).await, 0.0);
    assert_ends_promptly(api).await;
}

#[tokio::test]
async fn the_consumer_works_although_nobody_reads_its_log() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    site.fill(50).await;
    let (_reader, errors) = stalled();
    let mut consumer = Program::start_with_errors(&mut site.consumer(&[]), errors);
    consumer.readiness(200).await;
    site.settled().await;
    assert_eq!(consumer.status("/livez").await, Some(200));
    assert_ends_promptly(consumer).await;
    assert_stored_once(&site, &database, 50).await;
}

#[tokio::test]
async fn a_command_ends_although_nobody_reads_what_it_says() {
    let site = Site::new(&format!("postgres://nobody@{NOWHERE}/none"));
    for (arguments, status) in [(&["audit"][..], 1), (&["no-such-command"], 64)] {
        let (_reader, errors) = stalled();
        for errors in [errors, full_disk().into(), deserted()] {
            let command = Program::start_with_errors(&mut site.consumer(arguments), errors);
            assert_eq!(command.ended().await.code, Some(status), "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn the_log_says_how_many_lines_are_missing() {
    let mut site = Site::new(&format!("postgres://nobody@{NOWHERE}/none"));
    site.redis = format!("redis://{NOWHERE}");
    let (reader, errors) = stalled();
    let api = Program::start_with_errors(&mut talkative_api(&site), errors);
    eventually("the API to listen", async || (api.status("/livez").await == Some(200)).then_some(())).await;
    let client = reqwest::Client::new();
    let mut number = 0;
    while api.metric(BUFFER_FULL).await == 0.0 {
        assert!(number < 50_000, "nothing was dropped");
        let posts = (number..number + 500).map(|number| post(&client, &api, number));
        futures_util::future::join_all(posts).await;
        number += 500;
    }
    // The command still has the write end open.
    let text = std::thread::spawn(move || std::io::read_to_string(reader).unwrap());
    eventually("the buffer to be written", async || {
        // A webhook after the flood makes a log line that has room in the buffer.
        let before = api.metric(BUFFER_FULL).await;
        post(&client, &api, number).await;
        (api.metric(BUFFER_FULL).await <= before).then_some(())
    })
    .await;
    assert_ends_promptly(api).await;
    let text = text.join().unwrap();
    assert!(text.contains("log lines before this one were dropped"), "{} bytes", text.len());
    assert!(text.contains("received SIGTERM"), "the last lines are there");
}

#[tokio::test]
async fn the_last_words_come_last() {
    let database = TestDatabase::empty().await;
    let mut site = Site::new(database.url());
    site.redis = format!("redis://{NOWHERE}");
    let mut command = site.api(&[]);
    command.env("FLEET_LOG", "trace").env("FLEET_API__SHUTDOWN_TIMEOUT", "300ms");
    let mut api = Program::start(&mut command);
    api.readiness(503).await;
    // A request that never becomes complete keeps the API running until its shutdown timeout.
    let host = api.webhooks();
    let host = host.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "POST /webhooks/niu HTTP/1.1\r\nHost: {host}\r\ntoken: {TOKEN}\r\nContent-Length: 9\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(reqwest::get(api.webhooks()).await.unwrap().status(), 405);
    api.signal(Signal::TERM);
    let ended = api.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("received SIGTERM"), "{ended:?}");
    let last = ended.errors.lines().last().unwrap();
    assert!(last.starts_with("stopped before every request was answered"), "{ended:?}");
}

//! SIGTERM while a push is not confirmed.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{primary, replica_of};
use crate::process::program::{Program, Site, report};
use crate::support::{TOKEN, eventually};

/// Nothing listens on this port.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

#[tokio::test]
async fn the_api_answers_and_ends_in_time() {
    let primary = primary().await;
    let mut replica = replica_of(&primary).await;
    let mut site = Site::new(NO_DATABASE);
    site.redis = primary.url();
    let command = &mut site.api(&[]);
    let mut api = Program::start(command.env("FLEET_QUEUE__REPLICAS", "1").env("FLEET_QUEUE__TIMEOUT", "2s"));
    api.readiness(200).await;
    let post = |number| {
        let request = reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(number));
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    };
    eventually("webhooks to be accepted", async || (post(1).await.unwrap() == 200).then_some(())).await;
    let before = site.queue().await.waiting_messages;
    replica.pause().unwrap();
    let posting = post(2);
    eventually("the push to reach the primary", async || {
        (site.queue().await.waiting_messages > before).then_some(())
    })
    .await;
    api.signal(Signal::TERM);
    let start = Instant::now();
    assert_eq!(posting.await.unwrap(), 503);
    let ended = api.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

//! Rolling restarts of both services under load, as Kubernetes does them: a new process is ready before an old one gets
//! SIGTERM, and by then new connections go to other processes.

mod balancer;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use balancer::{Backend, Balancer};
use rustix::process::Signal;

use super::program::{Program, Site};
use super::shutdown::assert_stored_once;
use crate::support::{TestDatabase, eventually};

/// Webhooks a second that two debug builds can accept on two shared CPUs.
const DEFAULT_RATE: usize = 400;
/// How often every process is replaced.
const ROUNDS: usize = 3;

/// The rate in `FLEET_TEST_ROLLING_RATE`, if it is set.
fn asked_rate() -> Option<usize> {
    let rate = std::env::var("FLEET_TEST_ROLLING_RATE").ok()?;
    Some(rate.parse().expect("FLEET_TEST_ROLLING_RATE is a whole number of webhooks a second"))
}

async fn start_api(site: &Site) -> (Program, Arc<Backend>) {
    let mut api = Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    let url = api.webhooks();
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let backend = Backend::new(address.parse().unwrap());
    (api, backend)
}

/// A consumer that has already settled batches.
async fn start_consumer(site: &Site) -> Program {
    let consumer = Program::start(&mut site.consumer(&[]));
    let settled = r#"fleet_consumer_leases_total{provider="niu",fate="settled"}"#;
    eventually("the new consumer to settle batches", async || {
        (consumer.metric(settled).await >= 1.0).then_some(())
    })
    .await;
    consumer
}

/// Replaces the API at this place of the load balancer.
async fn roll_api(site: &Site, balancer: &Balancer, place: usize, running: &mut Program) {
    let (new, new_backend) = start_api(site).await;
    let old_backend = balancer.replace(place, &new_backend);
    let old = std::mem::replace(running, new);
    old.signal(Signal::TERM);
    // The admin listener may stop with the last connection, before the test has read the readiness.
    eventually("the old API to stop", async || {
        let readiness = old.status("/readyz").await;
        old_backend.stopping.store(readiness == Some(503), SeqCst);
        (readiness != Some(200)).then_some(())
    })
    .await;
    let ended = old.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    eventually("webhooks to reach the new API", async || {
        (new_backend.answered.load(SeqCst) > 0).then_some(())
    })
    .await;
}

async fn roll_consumer(site: &Site, running: &mut Program) {
    let new = start_consumer(site).await;
    assert_finishes(std::mem::replace(running, new)).await;
}

/// A consumer must stop in time and must never have taken over another one's batch.
async fn assert_finishes(consumer: Program) {
    consumer.signal(Signal::TERM);
    let ended = consumer.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.errors.contains("consuming"), "it logs at info: {}", ended.errors);
    assert!(!ended.errors.contains("took a batch over"), "{}", ended.errors);
}

/// Waits until as many webhooks were accepted as half a second brings.
async fn more_load(balancer: &Balancer, rate: usize) {
    let goal = balancer.answered() + rate / 2;
    eventually("more webhooks to be answered", async || (balancer.answered() >= goal).then_some(())).await;
}

#[tokio::test]
async fn every_process_is_replaced_under_load_and_no_webhook_notices() {
    let database = TestDatabase::migrated().await;
    let site = Site::new(database.url());
    let rate = asked_rate().unwrap_or(DEFAULT_RATE);
    let (first, first_backend) = start_api(&site).await;
    let (second, second_backend) = start_api(&site).await;
    let mut apis = [first, second];
    let start = Instant::now();
    let balancer = Balancer::start(rate, 24.max(rate / 50), [first_backend, second_backend]);
    let mut consumers = [start_consumer(&site).await, start_consumer(&site).await];
    for _round in 0..ROUNDS {
        for (place, (api, consumer)) in apis.iter_mut().zip(&mut consumers).enumerate() {
            more_load(&balancer, rate).await;
            roll_api(&site, &balancer, place, api).await;
            more_load(&balancer, rate).await;
            roll_consumer(&site, consumer).await;
        }
    }
    more_load(&balancer, rate).await;
    let counts = balancer.stop();
    let reached = counts.answered * 1000 / usize::try_from(start.elapsed().as_millis()).unwrap();
    println!("{reached} webhooks/s: {counts:?}");

    assert_eq!(counts.repeated, 0, "load balancers do not retry a POST: {counts:?}");
    assert!(counts.drained >= 2 * ROUNDS, "{counts:?}");
    site.settled().await;
    let queue = site.queue().await;
    assert_eq!(queue.accepted.messages, u64::try_from(counts.answered).unwrap());
    assert_eq!((queue.leases, queue.waiting_messages), (0, 0));
    for consumer in consumers {
        assert_finishes(consumer).await;
    }
    assert_stored_once(&site, &database, counts.answered).await;
    if let Some(asked) = asked_rate() {
        assert!(reached >= asked / 20 * 19, "{reached} webhooks/s instead of {asked}");
    }
}

//! Claims and settles a batch of a thousand messages, on the Redis that `FLEET_TEST_REDIS_URL` names. `cargo xtask services`
//! starts one; then run `cargo bench -p fleet-queue --bench claim`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use fleet_queue::{ClaimLimits, Consumer, Envelope, Producer, RedisLink, RedisLinkOptions};
use jiff::Timestamp;
use tokio::runtime::Runtime;
use uuid::Uuid;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const MESSAGES: usize = 1_000;

fn main() {
    assert!(
        std::env::var_os("FLEET_TEST_REDIS_URL").is_some(),
        "FLEET_TEST_REDIS_URL is not set: run `cargo xtask services` in another shell and export what it prints"
    );
    divan::main();
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn claim_and_ack(bencher: Bencher<'_, '_>) {
    let url = std::env::var("FLEET_TEST_REDIS_URL").expect("checked above");
    let runtime = Runtime::new().unwrap();
    let link = Arc::new(RedisLink::open(&RedisLinkOptions::new(&url, Duration::from_secs(5))).unwrap());
    // Empty again when it ends: whatever is pushed is settled.
    let prefix = format!("bench-{}", Uuid::now_v7().simple());
    let producer = Producer::new(Arc::clone(&link), &prefix, "niu");
    let consumer = Consumer::new(link, &prefix, "niu");
    let limits = ClaimLimits { max_messages: MESSAGES, max_bytes: 4 << 20, lease: Duration::from_secs(30) };
    let item = Envelope {
        message_id: Uuid::now_v7(),
        received_at: Timestamp::now(),
        topic: "",
        content_type: Some("application/json"),
        traceparent: None,
        body: &[b'x'; 450],
    }
    .encode();
    let items = vec![item; MESSAGES];
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| runtime.block_on(producer.push(&items)).unwrap())
        .bench_local_values(|_backlog_bytes| {
            runtime.block_on(async {
                let lease = consumer.claim(Uuid::now_v7(), Uuid::now_v7(), limits).await.unwrap().unwrap();
                assert_eq!(consumer.ack(&lease).await.unwrap(), MESSAGES as u64);
            });
        });
}

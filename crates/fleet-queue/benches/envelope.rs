//! Writing and reading one list item, with allocations: `cargo bench -p fleet-queue --bench envelope`.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use divan::{AllocProfiler, Bencher, black_box};
use fleet_queue::Envelope;
use jiff::Timestamp;
use uuid::Uuid;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn envelope(body: &[u8]) -> Envelope<'_> {
    Envelope {
        message_id: Uuid::now_v7(),
        received_at: Timestamp::from_millisecond(1_718_000_000_123).unwrap(),
        topic: "vehicle/status",
        content_type: Some("application/x-www-form-urlencoded"),
        traceparent: None,
        body,
    }
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let envelope = envelope(&[b'x'; 450]);
    bencher.bench_local(|| black_box(&envelope).encode());
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let item = envelope(&[b'x'; 450]).encode();
    bencher.bench_local(|| Envelope::decode(black_box(&item)).is_ok());
}

//! From a thousand queue items to records, and from those to one row a vehicle, with allocations:
//! `cargo bench -p fleet-consumer --bench fold`.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use fleet_consumer::batch::fold::fold;
use fleet_consumer::batch::parse::parse_item;
use fleet_consumer::batch::record::Record;
use fleet_providers::{Limits, provider};
use fleet_queue::Envelope;
use jiff::Timestamp;
use uuid::Uuid;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const MESSAGES: usize = 1_000;

fn main() {
    divan::main();
}

/// One report each of as many vehicles as are asked for, again and again.
fn items(vehicles: usize) -> Vec<Vec<u8>> {
    let received_at = Timestamp::now();
    let item = |index: usize| {
        let (vehicle, at_ms) =
            (index % vehicles, received_at.as_millisecond() + i64::try_from(index).unwrap());
        let body = format!(
            "{{\"sn\":\"BENCHN{vehicle:07}\",\"type\":\"status\",\"infoTimestamp\":{at_ms},\
             \"gpsTimestamp\":{at_ms},\"postion\":{{\"lat\":52.512345,\"lng\":13.412345}},\"isAccOn\":1,\
             \"isFortificationOn\":0,\"nowSpeed\":23,\"ss_online_sta\":\"1\",\"isCharging\":0,\
             \"estimatedMileage\":41,\"totalMileage\":1234.5,\"batteries\":{{\"compartmentA\":\
             {{\"isConnected\":true,\"batteryCharging\":68}}}}}}"
        );
        let envelope = Envelope {
            message_id: Uuid::now_v7(),
            received_at,
            topic: "",
            content_type: Some("application/json"),
            traceparent: None,
            body: body.as_bytes(),
        };
        envelope.encode()
    };
    (0..MESSAGES).map(item).collect()
}

fn parsed(items: &[Vec<u8>]) -> Vec<Record<'_>> {
    let (niu, limits) = (provider("niu").unwrap(), Limits::default());
    let mut records = Vec::with_capacity(items.len());
    for item in items {
        parse_item(niu, &limits, item, &mut records);
    }
    records
}

#[divan::bench]
fn parse_thousand(bencher: Bencher<'_, '_>) {
    let items = items(MESSAGES);
    assert!(parsed(&items).iter().all(|record| record.outcome.is_ok()));
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| black_box(parsed(black_box(&items))));
}

#[divan::bench(args = [10, 1_000])]
fn fold_thousand(bencher: Bencher<'_, '_>, vehicles: usize) {
    let items = items(vehicles);
    let records = parsed(&items);
    let events = || records.iter().filter_map(|record| record.outcome.as_ref().ok());
    assert_eq!(fold(events()).len(), vehicles);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| black_box(fold(events())));
}

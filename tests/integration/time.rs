//! A week of every provider's reports, with wrong clocks and slow networks. The order, the
//! batches and the repetition of the reports do not change the vehicles.

mod week;

use std::sync::Arc;
use std::time::Duration;

use fleet_consumer::batch::fold::fold;
use fleet_consumer::batch::parse::parse_item;
use fleet_providers::{Limits, PROVIDERS};
use fleet_queue::{Producer, RedisLink, RedisLinkOptions};
use fleet_store::{Database, DatabaseOptions, Part, Schema, StateStore};
use fleet_testbed::DatabaseLogin;
use uuid::Uuid;

use crate::support::{Fleet, TestDatabase, redis_url};
use week::{Report, Week};

const SEED: u64 = 20_240_603;

/// Stores these reports in this order, as a consumer does, in batches of up to `most` reports.
async fn deliver(store: &StateStore, reports: &[&Report], most: usize, rng: &mut fastrand::Rng) {
    for provider in PROVIDERS {
        let own: Vec<_> = reports.iter().filter(|report| report.provider == provider.slug).collect();
        let mut rest = own.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rng.usize(1..=most).min(rest.len()));
            rest = later;
            let mut records = Vec::new();
            for report in batch {
                parse_item(provider, &Limits::default(), &report.item, &mut records);
            }
            let events = records.iter().filter_map(|record| record.outcome.as_ref().ok());
            let part = Part {
                lease_id: Uuid::now_v7(),
                provider: provider.slug,
                first_record: 0,
                records: i32::try_from(records.len()).unwrap(),
            };
            store.write(&part, &fold(events)).await.unwrap();
        }
    }
}

/// All columns of every row.
async fn rows(database: &TestDatabase) -> Vec<String> {
    let query = "SELECT to_jsonb(v)::text FROM vehicles v ORDER BY vehicle_id";
    let client = database.client().await;
    client.batch_execute("SET TIME ZONE 'UTC'").await.unwrap();
    client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Compares the rows with the newest values that the generator has recorded.
async fn assert_newest(week: &Week, database: &TestDatabase) {
    let query = "SELECT lat, (extract(epoch FROM position_at) * 1000)::bigint,
                        battery_percent, (extract(epoch FROM battery_at) * 1000)::bigint,
                        locked::int::double precision, (extract(epoch FROM locked_at) * 1000)::bigint
                   FROM vehicles WHERE provider = $1 AND provider_vehicle_id = $2";
    let client = database.client().await;
    for (provider, vehicle) in week.vehicles() {
        let row = client.query_one(query, &[&provider, &vehicle]).await.unwrap();
        let found = [0, 2, 4].map(|column| (row.get::<_, i64>(column + 1), row.get::<_, f64>(column)));
        let expected = week.newest(provider, &vehicle).map(|(at_ms, _received_ms, value)| (at_ms, value));
        assert_eq!(found, expected, "{provider} {vehicle}");
    }
}

/// All reports, some of them twice, in random order.
fn shuffled<'a>(week: &'a Week, rng: &mut fastrand::Rng) -> Vec<&'a Report> {
    let mut reports: Vec<_> = week.reports.iter().collect();
    let again: Vec<_> = reports.iter().copied().filter(|_| rng.u8(0..3) == 0).collect();
    reports.extend(again);
    rng.shuffle(&mut reports);
    reports
}

#[tokio::test]
async fn no_order_or_repetition_of_a_week_changes_the_vehicles() {
    let week = Week::generate(SEED);
    assert!(week.reports.len() > 4_000);
    let mut rng = fastrand::Rng::with_seed(SEED);
    let in_order: Vec<_> = week.reports.iter().collect();
    let backwards: Vec<_> = week.reports.iter().rev().collect();
    let (first, second) = (shuffled(&week, &mut rng), shuffled(&week, &mut rng));
    let mut expected = None;
    for (reports, most) in [(in_order, 100), (backwards, 1_000), (first, 40), (second, 400)] {
        let database = TestDatabase::empty().await;
        database.migrate(Schema::State).await;
        let url = database.url_as(DatabaseLogin::Consumer);
        let options = DatabaseOptions { pool_size: 1, ..DatabaseOptions::new(&url) };
        let store = StateStore::new(Database::open(&options).unwrap());
        deliver(&store, &reports, most, &mut rng).await;
        let rows = rows(&database).await;
        assert_newest(&week, &database).await;
        assert_eq!(expected.get_or_insert_with(|| rows.clone()), &rows);
    }
}

#[tokio::test]
async fn a_week_goes_through_queues_and_consumers_to_the_same_vehicles() {
    let week = Week::generate(SEED);
    let database = TestDatabase::migrated().await;
    let variables = [("FLEET_DATABASE_URL", database.url()), ("FLEET_CONSUMER__BATCH_MAX_MESSAGES", "170")];
    let mut fleet = Fleet::api_only(&variables).await;
    let reports = shuffled(&week, &mut fastrand::Rng::with_seed(SEED + 1));
    let link =
        Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis_url(), Duration::from_secs(10))).unwrap());
    for slug in PROVIDERS.iter().map(|provider| provider.slug) {
        let items: Vec<_> = reports
            .iter()
            .filter(|report| report.provider == slug)
            .map(|report| report.item.clone())
            .collect();
        let producer = Producer::new(Arc::clone(&link), &fleet.settings.queue.prefix, slug);
        for items in items.chunks(500) {
            producer.push(items).await.unwrap();
        }
    }
    fleet.start_consumer();
    fleet.start_consumer();
    fleet.settled().await;
    assert_newest(&week, &database).await;
    let client = database.client().await;
    let query = "SELECT (SELECT count(*) FROM telemetry), (SELECT count(*) FROM dead_letters),
                        (SELECT count(*) FROM dead_letters WHERE reason <> 'too_old')";
    let row = client.query_one(query, &[]).await.unwrap();
    let found: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
    let old = i64::try_from(week.too_old).unwrap();
    let all = i64::try_from(week.reports.len()).unwrap();
    assert_eq!(found, [all - old, old, 0]);
    assert!(old > 10, "{old}");
    fleet.stop().await;
}

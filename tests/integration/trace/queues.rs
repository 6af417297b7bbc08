//! What `trace` finds in Redis, and messages that are nowhere.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Envelope, Finder, Place, Producer, RedisLink, RedisLinkOptions};
use fleet_testbed::{DatabaseLogin, RedisLogin};
use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use super::{found, post, report, trace_as};
use crate::process::program::{binary, run};
use crate::support::{Fleet, TestDatabase, fresh_prefix, redis_as, redis_url};

/// With only the rights of the consumer's user.
fn link() -> Arc<RedisLink> {
    Arc::new(
        RedisLink::open(&RedisLinkOptions::new(
            &redis_as(RedisLogin::Consumer, &redis_url()),
            Duration::from_secs(3),
        ))
        .unwrap(),
    )
}

async fn api(database: &TestDatabase) -> Fleet {
    Fleet::api_only(&[("FLEET_DATABASE_URL", database.url())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_leased_and_parked() {
    let database = TestDatabase::migrated().await;
    let fleet = api(&database).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(post(&fleet, &report(number)).await);
    }
    found(&fleet, &database, ids[3], &["waiting: in the queue of niu; about 3 of 5 messages"]).await;
    let consumer = Consumer::new(link(), &fleet.settings.queue.prefix, "niu");
    let limits = ClaimLimits { max_messages: 2, max_bytes: 1 << 20, lease: Duration::from_secs(600) };
    let (lease_id, token) = (Uuid::now_v7(), Uuid::now_v7());
    let lease = consumer.claim(lease_id, token, limits).await.unwrap().unwrap();
    let batch = format!("in the batch lease_id={lease_id} of the queue of niu, claimed ");
    let said =
        [format!("leased: {batch}"), "; the lease expires ".to_owned(), format!("owner is {token} since ")];
    found(&fleet, &database, ids[1], &said.each_ref().map(String::as_str)).await;
    found(&fleet, &database, ids[3], &["about 1 of 3 messages"]).await;
    assert!(consumer.park(&lease, Duration::from_secs(600)).await.unwrap());
    let said = [format!("parked: {batch}"), "; it is due ".to_owned(), "the other one could not".to_owned()];
    found(&fleet, &database, ids[1], &said.each_ref().map(String::as_str)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nowhere_may_have_been_refused() {
    let database = TestDatabase::migrated().await;
    let fleet = api(&database).await;
    let refused = reqwest::Client::new().post(format!("{}/webhooks/niu", fleet.api)).body("{}");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let ended = trace_as(DatabaseLogin::Reader, &fleet, &database, &id).await;
    assert_eq!((ended.code, ended.errors.as_str()), (Some(1), ""), "{ended:?}");
    for words in ["not found", &format!("for message_id={id}"), "fleet-consumer audit"] {
        assert!(ended.output.contains(words), "{words}: {ended:?}");
    }
    assert!(!ended.output.contains("retention") && !ended.output.contains("not searched"), "{ended:?}");
    let old = "0163f4a0-0000-7000-8000-000000000000";
    let ended = trace_as(DatabaseLogin::Reader, &fleet, &database, old).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("retention has removed it: telemetry is kept for 90 days"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_id_is_refused() {
    let database = TestDatabase::migrated().await;
    let fleet = api(&database).await;
    for (id, said) in [
        ("nonsense", "Pass the x-request-id"),
        ("7e3c1b9a-6c1f-4b8e-9c41-2f6f0f7a7d10", "this UUID is not a UUIDv7"),
    ] {
        let ended = trace_as(DatabaseLogin::Reader, &fleet, &database, id).await;
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.errors.contains(said), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_named_and_the_other_one_searched() {
    let database = TestDatabase::migrated().await;
    let mut fleet = api(&database).await;
    let waiting = post(&fleet, &report(1)).await;
    let prefix = fleet.settings.queue.prefix.clone();
    let trace = async |variable: &str, url: &str, id: Uuid| {
        let id = id.to_string();
        let mut command = binary("fleet-consumer", &["trace", &id]);
        command
            .env("FLEET_REDIS_URL", redis_as(RedisLogin::Consumer, &redis_url()))
            .env("FLEET_QUEUE__PREFIX", &prefix)
            .env("FLEET_DATABASE_URL", database.url_as(DatabaseLogin::Reader))
            .env(variable, url);
        run(&mut command).await
    };
    // Nothing listens on port 9 (discard).
    let ended = trace("FLEET_DATABASE_URL", "postgres://reader@127.0.0.1:9/fleet", waiting).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("waiting: in the queue of niu"), "{ended:?}");
    assert!(ended.output.contains("not searched: telemetry: "), "{ended:?}");
    fleet.start_consumer();
    fleet.settled().await;
    let ended = trace("FLEET_REDIS_URL", "redis://127.0.0.1:9", waiting).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.output.contains("stored: 1 events"), "{ended:?}");
    assert!(ended.output.contains("not searched: the queue of "), "{ended:?}");
}

/// An item as the API writes it, received at this time.
fn item(received_ms: i64) -> (Uuid, Vec<u8>) {
    let received_at = Timestamp::from_millisecond(received_ms).unwrap();
    let seconds = u64::try_from(received_ms / 1000).unwrap();
    let nanoseconds = u32::try_from(received_ms % 1000).unwrap() * 1_000_000;
    let message_id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds));
    let body = b"[]";
    let envelope =
        Envelope { message_id, received_at, topic: "", content_type: None, traceparent: None, body };
    (message_id, envelope.encode())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_searched_by_time_and_then_as_a_whole() {
    let (link, prefix) = (link(), fresh_prefix());
    let producer = Producer::new(Arc::clone(&link), &prefix, "niu");
    let start = 1_780_000_000_000;
    let (mut ids, mut items): (Vec<_>, Vec<_>) = (0..30_000).map(|number| item(start + number)).unzip();
    // A replayed dead letter from the first minute, and an item that is no envelope.
    let (replayed, letter) = item(start + 3);
    ids.insert(21_000, replayed);
    items.splice(21_000..21_000, [letter]);
    items.insert(25_000, b"nonsense".to_vec());
    for piece in items.chunks(1000) {
        producer.push(piece).await.unwrap();
    }
    let finder = Finder::new(link, &prefix, "niu");
    for index in [0, 1, 12_345, 20_999, 21_001, 24_999] {
        let offset = if index > 21_000 { index - 1 } else { index };
        let received_at = Timestamp::from_millisecond(start + offset).unwrap();
        let index = usize::try_from(index).unwrap();
        let found = finder.find(ids[index], received_at).await.unwrap().place;
        let before = u64::try_from(index).unwrap();
        assert_eq!(found, Some(Place::Waiting { before, of: 30_002 }), "{index}");
    }
    let far = Timestamp::from_millisecond(start + 3).unwrap();
    let found = finder.find(replayed, far).await.unwrap();
    assert_eq!((found.place, found.is_complete), (None, false));
    let soon = || std::time::Instant::now() + Duration::from_secs(20);
    let found = finder.scan(replayed, soon()).await.unwrap().place;
    assert_eq!(found, Some(Place::Waiting { before: 21_000, of: 30_002 }));
    let nobody = finder.scan(Uuid::now_v7(), soon()).await.unwrap();
    assert_eq!((nobody.place, nobody.is_complete), (None, true));
    let late = finder.scan(replayed, std::time::Instant::now()).await.unwrap();
    assert_eq!((late.place, late.is_complete), (None, false), "there was no time");
}

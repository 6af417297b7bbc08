//! The queue's protocol on a real Redis. `cargo xtask test` without arguments also runs these tests on Valkey and on Redis
//! 7.0.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod broken_keys;
mod claims;
mod codes;
mod crowd;
mod durability;
mod faults;
mod full;
mod history;
mod leases;
mod parked;

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{
    ClaimLimits, Consumer, Lease, Observer, Producer, QueueError, QueueKeys, QueueStatus, RedisLink,
    RedisLinkOptions, Volume,
};
use fleet_testbed::{Redis, RedisLogin, RedisOptions, RedisServer};
use redis::FromRedisValue;
use uuid::Uuid;

use crate::support::{eventually, fresh_prefix, redis_as, redis_url};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(5);
const QUEUE: &str = "niu";

/// Claims everything, for longer than the test runs.
const EVERYTHING: ClaimLimits =
    ClaimLimits { max_messages: 10_000, max_bytes: usize::MAX >> 12, lease: LONG };

/// Both ends of a queue with a new key prefix, each with its own login.
struct Rig {
    /// With the administrator's login.
    link: Arc<RedisLink>,
    prefix: String,
    keys: QueueKeys,
    producer: Producer,
    consumer: Consumer,
    observer: Observer,
}

impl Rig {
    fn new() -> Self {
        Self::on(&redis_url(), TIMEOUT)
    }

    fn on(url: &str, timeout: Duration) -> Self {
        let link = |login| {
            Arc::new(RedisLink::open(&RedisLinkOptions::new(&redis_as(login, url), timeout)).unwrap())
        };
        let prefix = fresh_prefix();
        Self {
            keys: QueueKeys::new(&prefix, QUEUE),
            producer: Producer::new(link(RedisLogin::Api), &prefix, QUEUE),
            consumer: Consumer::new(link(RedisLogin::Consumer), &prefix, QUEUE),
            observer: Observer::new(link(RedisLogin::Consumer), &prefix, QUEUE),
            link: link(RedisLogin::Admin),
            prefix,
        }
    }

    /// Pushes `items`. Returns the bytes in the backlog after the push.
    async fn push(&self, items: &[&str]) -> u64 {
        let items: Vec<_> = items.iter().map(|item| item.as_bytes().to_vec()).collect();
        self.producer.push(&items).await.unwrap().ledger.unwrap().backlog().bytes
    }

    async fn claim(&self, limits: ClaimLimits) -> Option<Lease> {
        let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
        self.consumer.claim(id, token, limits).await.unwrap()
    }

    /// Pushes `items` and claims them all.
    async fn leased(&self, items: &[&str]) -> Lease {
        self.push(items).await;
        let lease = self.claim(EVERYTHING).await.unwrap();
        assert_eq!(texts(&lease), items);
        lease
    }

    async fn take_over_expired(&self) -> Option<Lease> {
        self.consumer.take_over_expired(Uuid::now_v7(), LONG).await.unwrap()
    }

    /// Lets `lease` expire as if its owner had died, and takes it over.
    async fn outlive(&self, lease: &Lease) -> Lease {
        assert!(self.consumer.extend(lease, SHORT).await.unwrap());
        let next = eventually("the lease to expire", async || self.take_over_expired().await).await;
        assert_eq!(next.id, lease.id);
        next
    }

    async fn status(&self) -> QueueStatus {
        self.observer.status().await.unwrap()
    }

    /// Accepted, claimed and settled, each as (messages, bytes). The ledger must balance.
    async fn ledger(&self) -> [(u64, u64); 3] {
        let status = self.status().await;
        assert!(status.balances(), "{status:?}");
        [status.accepted, status.claimed, status.settled].map(|Volume { messages, bytes }| (messages, bytes))
    }

    async fn redis<T: FromRedisValue>(&self, words: &[&str]) -> T {
        redis(&self.link, words).await.unwrap()
    }

    /// Every key of this test except the ledger.
    async fn keys_left(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis(&["KEYS", &format!("{}:*", self.prefix)]).await;
        keys.retain(|key| *key != self.keys.ledger);
        keys
    }
}

async fn redis<T: FromRedisValue>(link: &RedisLink, words: &[&str]) -> Result<T, QueueError> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    link.command(&command).await
}

/// A Redis that only this test uses.
async fn private_redis(arguments: &'static [&'static str]) -> Redis {
    let extra = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let options = RedisOptions { server: RedisServer::from_environment(), extra, ..RedisOptions::default() };
    tokio::task::spawn_blocking(|| Redis::private_with(options)).await.unwrap().unwrap()
}

fn limits(max_messages: usize, max_bytes: usize) -> ClaimLimits {
    ClaimLimits { max_messages, max_bytes, lease: LONG }
}

fn texts(lease: &Lease) -> Vec<String> {
    let text = |item: &bytes::Bytes| String::from_utf8(item.to_vec()).unwrap();
    lease.items.iter().map(text).collect()
}

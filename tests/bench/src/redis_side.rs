//! Reads and fills Redis without the API.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Envelope, Producer, QueueKeys, RedisLink, RedisLinkOptions};
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::failure::Failure;
use crate::provider::{Provider, Status};
use crate::usual::Usual;

/// The prefix of the product's keys.
const PREFIX: &str = "fleet";

/// The number of messages in one push of a fill.
const CHUNK: u32 = 1_000;

/// The time between two reports of a vehicle in a fill.
const STEP_MS: i64 = 5_000;

/// The benchmark's own connection.
pub(crate) struct RedisSide {
    url: String,
    connection: MultiplexedConnection,
    runtime: Runtime,
}

impl std::fmt::Debug for RedisSide {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RedisSide").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The message counts of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) accepted: u64,
    pub(crate) settled: u64,
}

/// What a fill has pushed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) body_bytes: i64,
    /// The bytes of the messages with their envelopes.
    pub(crate) message_bytes: i64,
}

impl RedisSide {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let runtime = crate::runtime::current_thread()?;
        let client = redis::Client::open(url)?;
        let connection = runtime.block_on(client.get_multiplexed_async_connection())?;
        Ok(Self { url: url.to_owned(), connection, runtime })
    }

    /// The pid of the server.
    pub(crate) fn pid(&self) -> Result<u32, Failure> {
        let missing = || Failure::measurement("INFO of Redis has no process id");
        self.info("server", "process_id")?.parse().map_err(|_| missing())
    }

    /// The server's version.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        self.info("server", "redis_version")
    }

    /// Removes all data.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.ask::<()>(redis::cmd("FLUSHALL").arg("SYNC"))
    }

    /// Sets `appendfsync` to `always` or `everysec`.
    pub(crate) fn set_appendfsync(&self, when: &str) -> Result<(), Failure> {
        self.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(when))
    }

    /// The ledger of a provider's queue.
    pub(crate) fn ledger(&self, provider: Provider) -> Result<Ledger, Failure> {
        let keys = QueueKeys::new(PREFIX, provider.slug());
        let fields = ["accepted_messages", "settled_messages"];
        let (accepted, settled): (Option<u64>, Option<u64>) =
            self.ask(redis::cmd("HMGET").arg(&keys.ledger).arg(&fields))?;
        Ok(Ledger { accepted: accepted.unwrap_or_default(), settled: settled.unwrap_or_default() })
    }

    /// Pushes `messages` different messages of one report each into a provider's queue.
    pub(crate) fn fill(&self, provider: Provider, messages: u32, vehicles: u32) -> Result<(), Failure> {
        self.fill_from(provider, messages, vehicles, |status| provider.body(status))?;
        Ok(())
    }

    /// The same with bodies as the provider usually sends them.
    pub(crate) fn fill_usual(
        &self,
        usual: &Usual,
        provider: Provider,
        messages: u32,
        vehicles: u32,
    ) -> Result<Sent, Failure> {
        self.fill_from(provider, messages, vehicles, |status| usual.body(status))
    }

    fn fill_from(
        &self,
        provider: Provider,
        messages: u32,
        vehicles: u32,
        body: impl Fn(Status) -> String,
    ) -> Result<Sent, Failure> {
        let link = Arc::new(RedisLink::open(&RedisLinkOptions::new(&self.url, Duration::from_secs(10)))?);
        let producer = Producer::new(link, PREFIX, provider.slug());
        let received_at = Timestamp::now();
        let start_ms = received_at.as_millisecond() - i64::from(messages / vehicles + 1) * STEP_MS;
        let mut sent = Sent::default();
        let mut item = |index: u32| {
            let at_ms = start_ms + i64::from(index / vehicles) * STEP_MS;
            let body = body(Status { vehicle: index % vehicles, at_ms });
            let envelope = Envelope {
                message_id: Uuid::now_v7(),
                received_at,
                topic: provider.topic(),
                content_type: Some(provider.content_type()),
                traceparent: None,
                body: body.as_bytes(),
            };
            let item = envelope.encode();
            sent.body_bytes += i64::try_from(body.len()).unwrap_or(i64::MAX);
            sent.message_bytes += i64::try_from(item.len()).unwrap_or(i64::MAX);
            item
        };
        for first in (0..messages).step_by(CHUNK as usize) {
            let items: Vec<Vec<u8>> = (first..messages.min(first + CHUNK)).map(&mut item).collect();
            self.runtime.block_on(producer.push(&items))?;
        }
        Ok(sent)
    }

    /// Pushes this many messages with this body into a provider's queue.
    pub(crate) fn fill_with(&self, provider: Provider, messages: u32, body: &str) -> Result<(), Failure> {
        let link = Arc::new(RedisLink::open(&RedisLinkOptions::new(&self.url, Duration::from_secs(10)))?);
        let producer = Producer::new(link, PREFIX, provider.slug());
        for _ in 0..messages {
            let envelope = Envelope {
                message_id: Uuid::now_v7(),
                received_at: Timestamp::now(),
                topic: provider.topic(),
                content_type: Some(provider.content_type()),
                traceparent: None,
                body: body.as_bytes(),
            };
            self.runtime.block_on(producer.push(&[envelope.encode()]))?;
        }
        Ok(())
    }

    /// The memory that Redis uses, data and server together.
    pub(crate) fn memory_bytes(&self) -> Result<i64, Failure> {
        self.info_number("memory", "used_memory")
    }

    /// The size of the append-only file.
    pub(crate) fn file_bytes(&self) -> Result<i64, Failure> {
        self.info_number("persistence", "aof_current_size")
    }

    /// The number of open connections.
    pub(crate) fn clients(&self) -> Result<i64, Failure> {
        self.info_number("clients", "connected_clients")
    }

    fn info_number(&self, section: &str, name: &str) -> Result<i64, Failure> {
        let text = self.info(section, name)?;
        text.parse().map_err(|_| Failure::measurement(format!("Redis says {name} is {text}")))
    }

    pub(crate) fn info(&self, section: &str, name: &str) -> Result<String, Failure> {
        let text: String = self.ask(redis::cmd("INFO").arg(section))?;
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        value.ok_or_else(|| Failure::measurement(format!("INFO of Redis has no {name}")))
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        Ok(self.runtime.block_on(command.query_async(&mut connection))?)
    }
}

//! Reads and fills Redis without the API.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Envelope, Producer, Queue, RedisLink, RedisLinkOptions};
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

/// The deadline for a reply of Redis.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// Waits longer for a reply than the client's own 500 ms, which are too short while the disk is busy.
pub(crate) fn patient() -> redis::AsyncConnectionConfig {
    redis::AsyncConnectionConfig::new().set_response_timeout(Some(REPLY_WITHIN))
}

/// The benchmark's own connection.
pub(crate) struct RedisSide {
    url: String,
    shards: u8,
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
    /// Connects to a server on which each provider has so many shards.
    pub(crate) fn connect(url: &str, shards: u8) -> Result<Self, Failure> {
        let runtime = crate::runtime::current_thread()?;
        let client = redis::Client::open(url)?;
        let connection = runtime.block_on(client.get_multiplexed_async_connection_with_config(&patient()))?;
        Ok(Self { url: url.to_owned(), shards, connection, runtime })
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

    /// The settings of both programs that make the shards; none without shards.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (String, String)> {
        let shards = self.shards;
        let sharded = Provider::ALL.into_iter().filter(move |_provider| shards > 1);
        sharded.map(move |provider| {
            (format!("FLEET_PROVIDERS__{}__SHARDS", provider.slug().to_uppercase()), shards.to_string())
        })
    }

    /// The ledgers of a provider's queues, added up.
    pub(crate) fn ledger(&self, provider: Provider) -> Result<Ledger, Failure> {
        let mut sum = Ledger::default();
        for queue in Queue::all(provider.slug(), self.shards) {
            let fields = ["accepted_messages", "settled_messages"];
            let (accepted, settled): (Option<u64>, Option<u64>) =
                self.ask(redis::cmd("HMGET").arg(&queue.keys(PREFIX).ledger).arg(&fields))?;
            sum.accepted += accepted.unwrap_or_default();
            sum.settled += settled.unwrap_or_default();
        }
        Ok(sum)
    }

    /// A producer for each of a provider's queues, in turn without end.
    fn producers(&self, provider: Provider) -> Result<impl Iterator<Item = Producer> + use<>, Failure> {
        let link = Arc::new(RedisLink::open(&RedisLinkOptions::new(&self.url, Duration::from_secs(10)))?);
        let producer = move |queue| Producer::new(Arc::clone(&link), PREFIX, queue);
        Ok(Queue::all(provider.slug(), self.shards).cycle().map(producer))
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

    /// The same with these bodies.
    pub(crate) fn fill_with_body(
        &self,
        provider: Provider,
        messages: u32,
        body: impl Fn(Status) -> String,
    ) -> Result<(), Failure> {
        self.fill_from(provider, messages, messages, body)?;
        Ok(())
    }

    fn fill_from(
        &self,
        provider: Provider,
        messages: u32,
        vehicles: u32,
        body: impl Fn(Status) -> String,
    ) -> Result<Sent, Failure> {
        let producers = self.producers(provider)?;
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
        for (first, producer) in (0..messages).step_by(CHUNK as usize).zip(producers) {
            let items: Vec<Vec<u8>> = (first..messages.min(first + CHUNK)).map(&mut item).collect();
            self.runtime.block_on(producer.push(&items))?;
        }
        Ok(sent)
    }

    /// Pushes this many messages with this body into a provider's queue.
    pub(crate) fn fill_with(&self, provider: Provider, messages: u32, body: &str) -> Result<(), Failure> {
        for (_number, producer) in (0..messages).zip(self.producers(provider)?) {
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

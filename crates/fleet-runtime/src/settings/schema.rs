//! Every setting, its unit and its default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_providers::Secrets;
use serde::{Deserialize, Serialize};

use super::amqp_settings::AmqpSettings;
use super::query_settings::QuerySettings;
use super::redis_settings::RedisSettings;
use super::secret::{self, ConnectionUrl, GivenScheme};

const MIB: u64 = 1024 * 1024;

/// Every setting. All services read the same schema, and each ignores the sections of the others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Redis, 7.0 or newer; may name several hosts.
    pub redis_url: ConnectionUrl,
    /// What the hosts of Redis' URL are.
    pub redis: RedisSettings,
    /// PostgreSQL for `vehicles`.
    pub database_url: ConnectionUrl,
    /// PostgreSQL with TimescaleDB for `telemetry`; the database of `vehicles` if absent.
    pub telemetry_database_url: Option<ConnectionUrl>,
    /// Connections to Redis, PostgreSQL and the AMQP broker.
    pub tls: TlsSettings,
    /// Log filter, such as `info,fleet_consumer=debug`.
    pub log: String,
    /// Log format.
    pub log_format: LogFormat,
    /// Threads of the runtime.
    pub worker_threads: usize,
    /// The webhook listener.
    pub api: ApiSettings,
    /// Health and metrics.
    pub admin: AdminSettings,
    /// The bridge from AMQP.
    pub amqp: AmqpSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The consumer.
    pub consumer: ConsumerSettings,
    /// The query service.
    pub query: QuerySettings,
    /// Database connections.
    pub database: DatabasePoolSettings,
    /// How long data is kept.
    pub retention: RetentionSettings,
    /// By slug; only those named here are served.
    pub providers: BTreeMap<String, ProviderSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redis_url: ConnectionUrl::from("redis://127.0.0.1:6379"),
            redis: RedisSettings::default(),
            database_url: ConnectionUrl::from("postgres://fleet:fleet@127.0.0.1:5432/fleet"),
            telemetry_database_url: None,
            tls: TlsSettings::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            worker_threads: 1,
            api: ApiSettings::default(),
            admin: AdminSettings::default(),
            amqp: AmqpSettings::default(),
            queue: QueueSettings::default(),
            consumer: ConsumerSettings::default(),
            query: QuerySettings::default(),
            database: DatabasePoolSettings::default(),
            retention: RetentionSettings::default(),
            providers: BTreeMap::new(),
        }
    }
}

/// TLS to Redis, PostgreSQL and the AMQP broker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the trusted CAs; those of the system if absent.
    pub ca_file: Option<PathBuf>,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For reading.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The webhook listener and its bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// Address of the webhook listener.
    pub listen: SocketAddr,
    /// Most connections that wait in the kernel until they are accepted; `net.core.somaxconn` limits it.
    pub listen_backlog: u32,
    /// Most bytes of a body.
    pub max_body_bytes: u64,
    /// Most time for a request's headers.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Most time for a request's body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Most open connections. At the limit, a new one replaces one that has brought no authenticated request.
    pub max_connections: usize,
    /// Most authenticated requests of one provider in flight; more are answered 503.
    pub max_in_flight: usize,
    /// Most bytes of one provider's authenticated bodies in memory; requests beyond that are answered 503.
    pub max_in_flight_bytes: u64,
    /// Most bytes of one provider's unauthenticated bodies that have not arrived completely. At the limit, the connection
    /// whose body has not grown for the longest time is closed.
    pub max_unauthenticated_bytes: u64,
    /// Most messages in one push.
    pub commit_max_messages: usize,
    /// Most bytes in one push.
    pub commit_max_bytes: usize,
    /// Most requests of one provider that wait for a push; more are answered 503.
    pub commit_queue: usize,
    /// Value of `Retry-After`, whole seconds.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// Most time for the requests in flight after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            listen_backlog: 1024,
            max_body_bytes: MIB,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            max_connections: 2048,
            max_in_flight: 1024,
            max_in_flight_bytes: 32 * MIB,
            max_unauthenticated_bytes: 4 * MIB,
            commit_max_messages: 512,
            commit_max_bytes: 1024 * 1024,
            commit_queue: 2048,
            retry_after: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(25),
        }
    }
}

/// Health and metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Address; `127.0.0.1:9090` for the API, `127.0.0.1:9091` for the consumer, `127.0.0.1:9092` for the query service and
    /// `127.0.0.1:9093` for the bridge if absent.
    pub listen: Option<SocketAddr>,
}

/// The queue in Redis.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Prefix of every key.
    pub prefix: String,
    /// Most time for one call, including connecting and retries.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Replicas of Redis that must have a push on disk before it counts as stored.
    pub replicas: u32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { prefix: "fleet".to_owned(), timeout: Duration::from_secs(3), replicas: 0 }
    }
}

/// The consumer and its bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerSettings {
    /// Most messages in a usual batch.
    pub claim_max_messages: usize,
    /// Most bytes in a usual batch.
    pub claim_max_bytes: usize,
    /// Most messages in a large batch: one after a full batch, or while very many messages come.
    pub batch_max_messages: usize,
    /// Most bytes in a large batch.
    pub batch_max_bytes: usize,
    /// Most batches of one queue in flight.
    pub batches_in_flight: usize,
    /// Most rows in one transaction: events of telemetry, vehicles of the state.
    pub max_transaction_events: usize,
    /// Most events per second over all queues, to protect a shared database; unlimited if absent.
    pub max_events_per_second: Option<u32>,
    /// How long a lease lasts without a heartbeat.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Time between heartbeats.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Pause after a claim that found little or nothing.
    #[serde(with = "humantime_serde")]
    pub poll_min: Duration,
    /// Longest pause while the queue stays empty.
    #[serde(with = "humantime_serde")]
    pub poll_max: Duration,
    /// First back-off after a failure of a database or Redis; it doubles with each retry.
    #[serde(with = "humantime_serde")]
    pub retry_min: Duration,
    /// Longest back-off.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    /// Time between reads of the queues' state for the metrics.
    #[serde(with = "humantime_serde")]
    pub status_interval: Duration,
    /// Most time for the batches in flight after SIGTERM; then their leases are released.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            claim_max_messages: 1000,
            claim_max_bytes: 4 * 1024 * 1024,
            batch_max_messages: 15_000,
            batch_max_bytes: 9 * 1024 * 1024,
            batches_in_flight: 2,
            max_transaction_events: 5000,
            max_events_per_second: None,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            poll_min: Duration::from_millis(5),
            poll_max: Duration::from_millis(50),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            status_interval: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(45),
        }
    }
}

/// Bounds of the database connections.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabasePoolSettings {
    /// Most connections to each database.
    pub pool_size: usize,
    /// Most time for a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Most time for a statement.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How many synchronous standbys each commit is to have; fewer are a weakness, which is logged and exported.
    pub synchronous_standbys: u32,
}

impl Default for DatabasePoolSettings {
    fn default() -> Self {
        Self {
            pool_size: 5,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            synchronous_standbys: 0,
        }
    }
}

/// How long data is kept; applied by `fleet-consumer retention`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// Days to keep telemetry; an event that is older on arrival becomes a dead letter.
    pub telemetry_days: u32,
    /// Days to keep dead letters.
    pub dead_letter_days: u32,
    /// Days to keep the record of settled batches.
    pub settled_batch_days: u32,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { telemetry_days: 90, dead_letter_days: 90, settled_batch_days: 1 }
    }
}

/// One provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderSettings {
    /// Authentication scheme; the provider's default if absent.
    pub auth: Option<GivenScheme>,
    /// Valid secrets, separated by commas (several during a rotation).
    #[serde(deserialize_with = "secret::deserialize_list", serialize_with = "secret::serialize_list")]
    pub secrets: Secrets,
    /// File with the secrets, separated by commas or line ends, instead of `secrets`; it is read again when it changes.
    pub secrets_file: Option<PathBuf>,
    /// Most bytes of the provider's messages in Redis, waiting or in flight; above, requests are answered 503.
    pub max_backlog_bytes: u64,
    /// Most bytes of a body. If absent, `api.max_body_bytes`, but at most 16 KiB under `segway-md5` and 64 KiB under
    /// `hmac-sha256`: these signatures are in or over the body, so any client may send one.
    pub max_body_bytes: Option<u64>,
    /// Most new vehicles that one consumer accepts per minute; events of others become dead letters. Unlimited if absent.
    pub max_new_vehicles_per_minute: Option<u32>,
    /// How many queues the provider's messages are spread over, 1 to 64. In a Redis Cluster, they are on several servers.
    pub shards: u8,
}

impl Default for ProviderSettings {
    fn default() -> Self {
        Self {
            auth: None,
            secrets: Secrets::default(),
            secrets_file: None,
            max_backlog_bytes: 1536 * MIB,
            max_body_bytes: None,
            max_new_vehicles_per_minute: None,
            shards: 1,
        }
    }
}

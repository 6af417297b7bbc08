//! A real Redis and a real TimescaleDB for every demo, test and benchmark, without Docker.
//!
//! [`Services::start`] uses the first of these that is available:
//!
//! 1. `FLEET_TEST_REDIS_URL` and `FLEET_TEST_DATABASE_URL`, if both are set.
//! 2. A private Debian root. It is created once with `mmdebstrap` in the user's cache folder
//!    (`$FLEET_TEST_CACHE`, or `$XDG_CACHE_HOME/fleet-testbed`, or `~/.cache/fleet-testbed`; about 540 MB).
//!    The servers run from it with `chroot` as unprivileged users on free loopback ports. They write to a
//!    folder that is removed when they are dropped, and end with the process that started them.
//!
//! The private servers are configured as in `docker-compose.yml`: Redis with its command line and its users,
//! PostgreSQL with its roles and logins ([`RedisLogin`], [`DatabaseLogin`]). External servers may lack these
//! logins, or allow them only keys that start with `fleet:`. So every login of an external server is the
//! given URL, unless `FLEET_TEST_LOGINS=compose` states that it has all logins.
//!
//! If neither is possible, the [`Error`] tells what is missing and what to do. No test is skipped.
//!
//! [`Redis::private`] and [`Postgres::private`] start a server for a single test, which may kill, pause and
//! restart it. [`RedisServer::Valkey`] and [`RedisServer::Redis7`] have their own roots, which are created on first use.
//!
//! [`Redis::replica`] starts a replica, [`Sentinels`] promote it, and [`RedisCluster`] is a Redis Cluster.
//!
//! [`PgBouncer`] is a connection pooler in front of a [`Postgres`]. Its small root is created on first use.
//!
//! [`RabbitMq`] is a message broker with AMQP. Its root is created on first use, too.
//!
//! [`Tools`] are the programs that check Kubernetes manifests and alert rules. They are downloaded once into
//! the cache folder.
//!
//! [`Browser`] is a headless Chromium. It is installed from Debian on first use.
//!
//! All calls block. Call them outside of an async runtime, or from `spawn_blocking`.

mod browser;
mod certificate;
mod cgroup;
mod data;
mod error;
mod logins;
mod pgbouncer;
mod port;
mod postgres;
mod proc;
mod process;
mod progress;
mod proxy;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod root;
mod sentinels;
mod services;
mod spawn;

pub use browser::Browser;
pub use certificate::ServerCertificate;
pub use cgroup::{MemoryGroup, MemoryLimits};
pub use error::Error;
pub use logins::{DatabaseLogin, RedisLogin, database_sql, redis_users, redis_users_for_tests};
pub use pgbouncer::PgBouncer;
pub use port::free_port;
pub use postgres::Postgres;
pub use postgres::options::PostgresOptions;
pub use postgres::standby::StandbyOptions;
pub use progress::Progress;
pub use proxy::Proxy;
pub use rabbitmq::{AmqpLogin, INVERS_QUEUES, RabbitMq, RabbitMqOptions};
pub use redis::{REDIS_ARGUMENTS, REDIS_SERVER_VARIABLE, Redis, RedisOptions, RedisServer};
pub use redis_cluster::{ClusterNode, ClusterOptions, RedisCluster};
pub use root::{Root, Tools, schemathesis};
pub use sentinels::{SENTINEL_NAME, SentinelOptions, Sentinels};
pub use services::{DATABASE_URL_VARIABLE, LOGINS_VARIABLE, REDIS_URL_VARIABLE, Services, Source};

//! A real Redis and a real TimescaleDB for every demo, test and benchmark, without Docker.
//!
//! [`Services::start`] takes them, in this order, from
//!
//! 1. `FLEET_TEST_REDIS_URL` and `FLEET_TEST_DATABASE_URL`, where both are set;
//! 2. a private Debian root, made once with `mmdebstrap` in the user's cache folder
//!    (`$FLEET_TEST_CACHE`, else `$XDG_CACHE_HOME/fleet-testbed`, else `~/.cache/fleet-testbed`; about
//!    540 MB). The servers run from it with `chroot` as unprivileged users on free loopback ports, write to
//!    a folder that is removed when they are dropped, and end with the process that started them.
//!
//! The private servers run as `docker-compose.yml` ships them: Redis with its command line and its users, PostgreSQL
//! with its roles and logins ([`RedisLogin`], [`DatabaseLogin`]). Servers of the first kind may have none of these, or
//! only for keys that start with `fleet:`, so every login there is the given URL, unless `FLEET_TEST_LOGINS=compose`
//! says that they have them all.
//!
//! Where neither is possible the [`Error`] says what is missing and what to do; nothing is skipped.
//!
//! [`Redis::private`] and [`Postgres::private`] start a server for one test alone, which may kill -9, pause
//! and restart it. [`RedisServer::Valkey`] has a root of its own, which is made when a test first asks for it.
//!
//! [`PgBouncer`] is a connection pooler in front of a [`Postgres`], from a small root of its own that is made when it is
//! first needed.
//!
//! [`Tools`] are the programs that check Kubernetes manifests and alert rules, fetched once into the same folder.
//!
//! Everything here blocks: call it outside an async runtime, or from `spawn_blocking`.

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
mod redis;
mod root;
mod services;
mod spawn;

pub use certificate::ServerCertificate;
pub use cgroup::{MemoryGroup, MemoryLimits};
pub use error::Error;
pub use logins::{DatabaseLogin, RedisLogin, database_sql, redis_users, redis_users_for_tests};
pub use pgbouncer::PgBouncer;
pub use port::free_port;
pub use postgres::{Postgres, PostgresOptions};
pub use progress::Progress;
pub use proxy::Proxy;
pub use redis::{REDIS_ARGUMENTS, Redis, RedisOptions, RedisServer};
pub use root::{Root, Tools};
pub use services::{DATABASE_URL_VARIABLE, LOGINS_VARIABLE, REDIS_URL_VARIABLE, Services, Source};

//! The benchmark's private servers, the processes that use them, and their configuration.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fleet_testbed::{DatabaseLogin, Postgres, Progress, Redis, RedisLogin, Root, database_sql, free_port};
use serde::Serialize;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::load::Load;
use crate::provider::{INVERS_TOKEN, NIU_TOKEN, SEGWAY_SECRET};
use crate::redis_side::RedisSide;
use crate::running::Running;
use crate::sql::Sql;
use crate::usage::{self, Watched};
use fleet_harness::Interrupt;
use fleet_harness::http;

/// The deadline for a start.
const READY_WITHIN: Duration = Duration::from_mins(1);

const API: &str = "fleet-webhook-api";
const BRIDGE: &str = "fleet-amqp-bridge";
const QUERY: &str = "fleet-query-api";
const CONSUMER: &str = "fleet-consumer";

/// Keeps the files of the write-ahead log, so that PostgreSQL reuses them.
const POSTGRES_SETTINGS: &[&str] = &["min_wal_size=2GB", "max_wal_size=2GB", "backend_flush_after=256kB"];

/// `maxmemory` that deploy/k8s/README.md requires of Redis in production. The value in docker-compose.yml is
/// too small for a bomb within the API's own limits.
const MAXMEMORY: [&str; 2] = ["--maxmemory", "6gb"];

/// The number of files that make up `min_wal_size`.
const WAL_SEGMENTS: u32 = 128;

/// A Redis, a TimescaleDB and the processes that use them. The processes end before the servers.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Redis and its queues.
    pub(crate) redis: RedisSide,
    /// The database of the current round.
    pub(crate) sql: Sql,
    pub(crate) interrupt: Interrupt,
    bin_dir: PathBuf,
    logs: TempDir,
    server_url: String,
    redis_url: String,
    redis_pid: u32,
    postgres_pid: u32,
    _redis: Redis,
    _postgres: Postgres,
}

/// A process that accepts webhooks.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

/// The API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) front: Front,
    /// The address of health and metrics.
    pub(crate) admin: SocketAddr,
}

impl Stage {
    /// Starts both servers as shipped, except for [`MAXMEMORY`]. `redis` is appended to Redis' command line. Each provider has
    /// so many shards.
    pub(crate) fn set(
        bin_dir: &Path,
        redis: &[&str],
        shards: u8,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let progress = Progress::stderr();
        let root = Root::ensure(&progress)?;
        progress.say("starting Redis and TimescaleDB");
        let redis = Redis::start(&root, &[&MAXMEMORY, redis].concat())?;
        let postgres = Postgres::start(&root, POSTGRES_SETTINGS)?;
        drop(progress);
        let server_url = postgres.url();
        let redis_side = RedisSide::connect(&redis.url(), shards)?;
        let sql = Sql::connect(&server_url)?;
        Ok(Self {
            redis_pid: redis_side.pid()?,
            postgres_pid: usage::parent_of(sql.backend_pid()?)?,
            redis: redis_side,
            sql,
            interrupt: interrupt.clone(),
            bin_dir: bin_dir.to_owned(),
            logs: tempfile::tempdir().map_err(Failure::io("create a folder for the logs"))?,
            redis_url: redis.url(),
            server_url,
            _redis: redis,
            _postgres: postgres,
        })
    }

    /// Another Redis with the same settings, for example for a replica.
    pub(crate) fn second_redis(&self) -> Result<Redis, Failure> {
        let root = Root::ensure(&Progress::stderr())?;
        Ok(Redis::start(&root, &[&MAXMEMORY[..], &["--auto-aof-rewrite-percentage", "0"]].concat())?)
    }

    /// Brings PostgreSQL into the state of a server that has run for a while. A new server fills every new
    /// file of its write-ahead log with zeros first and so writes it twice, which would slow down the first
    /// gigabytes and everything else that uses the disk.
    pub(crate) fn age(&self) -> Result<(), Failure> {
        for _ in 0..WAL_SEGMENTS {
            self.sql.run("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")?;
        }
        self.sql.run("CHECKPOINT")
    }

    /// Empties Redis and creates a new database with the product's schema. Leaves no pending writes.
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        self.redis.flush()?;
        let admin = Sql::connect(&self.server_url)?;
        admin.run("DROP DATABASE IF EXISTS bench WITH (FORCE)")?;
        admin.run("CREATE DATABASE bench")?;
        self.sql = Sql::connect(&self.database_url())?;
        self.sql.run(&database_sql())?;
        let output = self
            .migrator_command(&["migrate"])?
            .output()
            .map_err(Failure::io("run fleet-consumer migrate"))?;
        if !output.status.success() {
            let log_tail = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::Process {
                name: CONSUMER.to_owned(),
                what: "cannot migrate".to_owned(),
                log_tail,
            });
        }
        admin.run("CHECKPOINT")
    }

    /// The administrator's URL of the current round's database.
    pub(crate) fn database_url(&self) -> String {
        self.server_url.rsplit_once('/').map_or_else(String::new, |(server, _)| format!("{server}/bench"))
    }

    /// Starts the API with additional settings.
    pub(crate) fn api(&self, settings: &[(&str, &str)]) -> Result<Front, Failure> {
        Ok(self.api_with_admin(settings)?.front)
    }

    /// The same, and returns its admin address too.
    pub(crate) fn api_with_admin(&self, settings: &[(&str, &str)]) -> Result<Api, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = self.command(API)?;
        command.env("FLEET_REDIS_URL", RedisLogin::Api.of(&self.redis_url));
        command.env("FLEET_API__LISTEN", address.to_string()).envs(settings.iter().copied());
        let (running, admin) = self.start_ready(API, command)?;
        Ok(Api { front: Front { running, address }, admin })
    }

    /// Starts a consumer as shipped.
    pub(crate) fn consumer(&self) -> Result<Running, Failure> {
        Ok(self.start_ready(CONSUMER, self.command(CONSUMER)?)?.0)
    }

    /// Starts a bridge that consumes this queue of a broker.
    pub(crate) fn bridge(&self, url: &str, ca_file: &Path, queue: &str) -> Result<Running, Failure> {
        let mut command = self.command(BRIDGE)?;
        command.env("FLEET_REDIS_URL", RedisLogin::Api.of(&self.redis_url));
        command.env("FLEET_AMQP__URL", url).env("FLEET_AMQP__CA_FILE", ca_file);
        command.env("FLEET_AMQP__QUEUES", queue);
        Ok(self.start_ready(BRIDGE, command)?.0)
    }

    /// Starts the query service, and waits until it knows the fleet.
    pub(crate) fn query(&self) -> Result<Front, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = self.command(QUERY)?;
        command.env("FLEET_DATABASE_URL", DatabaseLogin::Reader.of(&self.database_url()));
        command.env("FLEET_QUERY__LISTEN", address.to_string());
        let (running, _admin) = self.start_ready(QUERY, command)?;
        Ok(Front { running, address })
    }

    /// A command of the consumer's program that needs the migrator's login.
    pub(crate) fn migrator_command(&self, arguments: &[&str]) -> Result<Command, Failure> {
        let mut command = self.command(CONSUMER)?;
        command.env("FLEET_DATABASE_URL", DatabaseLogin::Migrator.of(&self.database_url()));
        command.args(arguments);
        Ok(command)
    }

    /// Starts a reference: `bare` or `lpush`, which accept webhooks, or `sql`, which answers queries.
    pub(crate) fn reference(&self, name: &str) -> Result<Front, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let url = match name {
            "sql" => DatabaseLogin::Reader.of(&self.database_url()),
            _redis => self.redis_url.clone(),
        };
        let mut command = self.own()?;
        command.args(["reference", name, "--port", &address.port().to_string(), "--url", &url]);
        let mut running = Running::start(name, &mut command, self.logs.path())?;
        self.interrupt.until(name, READY_WITHIN, || {
            running.check()?;
            Ok::<_, Failure>(TcpStream::connect(address).ok())
        })?;
        Ok(Front { running, address })
    }

    /// Starts a load generator.
    pub(crate) fn load(&self, load: &Load) -> Result<Running, Failure> {
        self.tool("load", load)
    }

    /// Starts one of this program's own subcommands with its options as JSON.
    pub(crate) fn tool(&self, subcommand: &str, what: &impl Serialize) -> Result<Running, Failure> {
        let mut command = self.own()?;
        command.arg(subcommand).arg(serde_json::to_string(what)?);
        Running::start(subcommand, &mut command, self.logs.path())
    }

    /// The pids of both servers and of other processes to measure.
    pub(crate) fn watch(&self, others: &[(&str, u32)]) -> Watched {
        let servers = [("redis", self.redis_pid), ("postgres", self.postgres_pid)];
        servers.iter().chain(others).map(|&(name, pid)| (name.to_owned(), pid)).collect()
    }

    fn own(&self) -> Result<Command, Failure> {
        Ok(Command::new(std::env::current_exe().map_err(Failure::io("find this program"))?))
    }

    fn start_ready(&self, name: &str, mut command: Command) -> Result<(Running, SocketAddr), Failure> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        command.env("FLEET_ADMIN__LISTEN", admin.to_string());
        let mut running = Running::start(name, &mut command, self.logs.path())?;
        self.interrupt.until(&format!("{name} to be ready"), READY_WITHIN, || {
            running.check()?;
            Ok::<_, Failure>(http::is_ok(admin.port(), "/readyz", http::TIMEOUT).then_some(()))
        })?;
        Ok((running, admin))
    }

    /// The command of a binary as shipped, with the consumer's logins and without the user's own settings
    /// except for the log filter.
    fn command(&self, binary: &str) -> Result<Command, Failure> {
        let mut command = Command::new(self.bin_dir.join(binary));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("FLEET_") && name != "FLEET_LOG" {
                command.env_remove(&*name);
            }
        }
        let admin = format!("127.0.0.1:{}", free_port()?);
        command
            .env("FLEET_ADMIN__LISTEN", admin)
            .env("FLEET_REDIS_URL", RedisLogin::Consumer.of(&self.redis_url))
            .env("FLEET_DATABASE_URL", DatabaseLogin::Consumer.of(&self.database_url()))
            .env("FLEET_PROVIDERS__NIU__SECRETS", NIU_TOKEN)
            .env("FLEET_PROVIDERS__SEGWAY__SECRETS", SEGWAY_SECRET)
            .env("FLEET_PROVIDERS__INVERS__SECRETS", INVERS_TOKEN);
        for (name, value) in self.redis.settings() {
            command.env(name, value);
        }
        Ok(command)
    }
}

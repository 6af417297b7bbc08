//! The servers, the processes under test and their configuration.

use std::path::Path;
use std::process::Command;

use fleet_failpoints::Failpoint;
use fleet_testbed::{DatabaseLogin, Postgres, Progress, Proxy, Redis, RedisLogin, Root, free_port};

use super::schedule::{CONSUMERS, Databases};
use super::{ask, failover};
use crate::refuse::refuse;
use fleet_harness::{Failure, Interrupt, Limits, Program, command, http};

const NIU_TOKEN: &str = "chaos-niu-token";
const SEGWAY_SECRET: &str = "chaos-segway-secret";
const INVERS_TOKEN: &str = "chaos-invers-token";

/// The providers' queues.
const QUEUES: [&str; 3] = ["niu", "segway", "invers"];

/// The consumers' database user and its password. A fault changes the password.
const APP: [&str; 2] = ["consumer", "local-use-only-consumer"];

/// `maxmemory` of Redis, as in docker-compose.yml.
const MAXMEMORY: &str = "1gb";

/// The settings that differ from production: timeouts short enough that a recovery fits into the run, and a
/// backlog limit that one provider exceeds again and again. Everything else is as shipped: users, Redis'
/// settings, all other defaults.
const LIMITS: [(&str, &str); 12] = [
    ("FLEET_API__RETRY_AFTER", "1s"),
    ("FLEET_PROVIDERS__NIU__MAX_BACKLOG_BYTES", "67108864"),
    ("FLEET_PROVIDERS__SEGWAY__MAX_BACKLOG_BYTES", "67108864"),
    ("FLEET_PROVIDERS__INVERS__MAX_BACKLOG_BYTES", "524288"),
    // Many small concurrent transactions make conflicts between them more likely.
    ("FLEET_CONSUMER__BATCHES_IN_FLIGHT", "4"),
    ("FLEET_DATABASE__POOL_SIZE", "16"),
    ("FLEET_CONSUMER__LEASE", "2s"),
    ("FLEET_CONSUMER__HEARTBEAT", "500ms"),
    ("FLEET_CONSUMER__RETRY_MAX", "500ms"),
    ("FLEET_QUEUE__TIMEOUT", "1s"),
    ("FLEET_DATABASE__CONNECT_TIMEOUT", "2s"),
    ("FLEET_DATABASE__STATEMENT_TIMEOUT", "3s"),
];

/// The name of the API and of its log.
pub(super) const API: &str = "fleet-webhook-api";

/// The name of a consumer and of its log.
pub(super) fn consumer_name(index: usize) -> String {
    format!("fleet-consumer-{index}")
}

/// Everything that a fault may hit, and what is needed to replace it. The processes end before the servers.
pub(super) struct Stage<'a> {
    pub(super) api: Option<Program>,
    pub(super) consumers: Vec<Program>,
    /// Consumers that got SIGTERM and have not ended yet.
    pub(super) leaving: Vec<Program>,
    /// The primary of the queues' Redis.
    pub(super) redis: Redis,
    /// The Redis that a failover promotes.
    spare: Redis,
    /// The database of the vehicle state, then the database of the telemetry if it is another one.
    pub(super) databases: Vec<Postgres>,
    /// The proxies between the processes and Redis or the databases.
    pub(super) proxies: Vec<Proxy>,
    /// The folder of the processes' logs.
    pub(super) logs: &'a Path,
    bin_dir: &'a Path,
    failpoint: Option<Failpoint>,
    batch: u32,
    api_port: u16,
    /// The processes' memory limits.
    pub(super) limits: Limits,
}

impl<'a> Stage<'a> {
    /// Starts the servers, checks that they are as durable as in production, migrates the databases and
    /// starts the processes.
    pub(super) fn set(
        bin_dir: &'a Path,
        databases: Databases,
        failpoint: Option<Failpoint>,
        batch: u32,
        limits: Limits,
        logs: &'a Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let progress = Progress::stderr();
        let root = Root::ensure(&progress)?;
        progress.say("starting Redis and TimescaleDB");
        let (redis, spare) = (Redis::start(&root, &[])?, Redis::start(&root, &[])?);
        let servers = match databases {
            Databases::One => 1,
            Databases::Two => 2,
        };
        let databases: Vec<_> =
            (0..servers).map(|_server| Postgres::start(&root, &[])).collect::<Result<_, _>>()?;
        let ports = [redis.port()].into_iter().chain(databases.iter().map(Postgres::port));
        let proxies = ports.map(Proxy::start).collect::<Result<_, _>>()?;
        let mut stage = Self {
            api: None,
            consumers: Vec::new(),
            leaving: Vec::new(),
            redis,
            spare,
            databases,
            proxies,
            logs,
            bin_dir,
            failpoint,
            batch,
            api_port: free_port()?,
            limits,
        };
        drop(progress);
        stage.require_durability()?;
        stage.consumer_command("migrate", DatabaseLogin::Migrator, interrupt)?;
        let mut api = stage.start_api()?;
        api.wait_ready(interrupt)?;
        stage.api = Some(api);
        for index in 0..CONSUMERS {
            let mut consumer = stage.start_consumer(index)?;
            consumer.wait_ready(interrupt)?;
            stage.consumers.push(consumer);
        }
        Ok(stage)
    }

    /// Starts an API on the port that every API of this run uses.
    pub(super) fn start_api(&self) -> Result<Program, Failure> {
        Program::start_in(self.limits.api()?, API, self.api_command(), self.logs)
    }

    /// Starts an API whose log cannot be written.
    pub(super) fn start_unlogged_api(&self, is_pipe: bool) -> Result<Program, Failure> {
        Program::start_unlogged(self.limits.api()?, API, self.api_command(), is_pipe)
    }

    /// Starts consumer number `index` with a log that cannot be written.
    pub(super) fn start_unlogged_consumer(&self, index: usize, is_pipe: bool) -> Result<Program, Failure> {
        let command = self.consumer(DatabaseLogin::Consumer);
        Program::start_unlogged(self.limits.consumer()?, &consumer_name(index), command, is_pipe)
    }

    /// Starts consumer number `index`.
    pub(super) fn start_consumer(&self, index: usize) -> Result<Program, Failure> {
        let command = self.consumer(DatabaseLogin::Consumer);
        Program::start_in(self.limits.consumer()?, &consumer_name(index), command, self.logs)
    }

    /// Runs `fleet-consumer <subcommand>` as the database user `login`. It must succeed.
    pub(super) fn consumer_command(
        &self,
        subcommand: &str,
        login: DatabaseLogin,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        command::run_consumer(self.consumer(login), subcommand, interrupt)
    }

    /// The command of the simulator, without the scenario.
    pub(super) fn simulator(&self) -> Command {
        let mut command = command::of(self.bin_dir, "fleet-simulator", "info");
        command
            .arg("run")
            .args(["--api", &format!("http://127.0.0.1:{}", self.api_port)])
            .args(["--database-url", &DatabaseLogin::Reader.of(&self.state().url())])
            .args(["--telemetry-database-url", &DatabaseLogin::Reader.of(&self.telemetry().url())])
            .args(["--redis-url", &self.behind(0, self.redis.port(), &self.redis.url())])
            .args(["--niu-token", NIU_TOKEN])
            .args(["--segway-secret", SEGWAY_SECRET])
            .args(["--invers-token", INVERS_TOKEN]);
        command
    }

    /// Whether the API has accepted any webhook.
    pub(super) fn has_accepted(&self) -> bool {
        let keys: Vec<String> = QUEUES.iter().map(|queue| key(queue, "ledger")).collect();
        ask::redis_number(self.redis.port(), &format!("EXISTS {}", keys.join(" ")))
            .is_ok_and(|found| found > 0)
    }

    /// Sets `maxmemory` so that Redis has no room for another byte, or restores it.
    pub(super) fn fill_redis(&self, is_full: bool) -> Result<(), Failure> {
        let maxmemory = if is_full { "1mb" } else { MAXMEMORY };
        ask::server(&self.redis, &format!("CONFIG SET maxmemory {maxmemory}")).map(drop)
    }

    /// Makes Redis close every client connection, as it does with idle connections if `timeout` is set.
    pub(super) fn close_connections(&self) -> Result<(), Failure> {
        ask::server(&self.redis, "CLIENT KILL TYPE normal").map(drop)
    }

    /// Promotes the spare server without losing data, as the operator of a managed Redis does: the address
    /// stays the same, and connections to the old primary stay open.
    pub(super) fn fail_over(&mut self) -> Result<(), Failure> {
        failover::switch(&self.redis, &self.spare)?;
        if let Some(way) = self.proxies.first() {
            way.retarget(self.spare.port());
        }
        ask::server(&self.redis, "CLIENT UNPAUSE")?;
        std::mem::swap(&mut self.redis, &mut self.spare);
        Ok(())
    }

    /// The database that a fault hits.
    pub(super) fn database(&mut self, target: usize) -> &mut Postgres {
        let count = self.databases.len();
        &mut self.databases[target % count]
    }

    /// The number of batches that are claimed or set aside, in all queues.
    pub(super) fn leases(&self) -> Result<u64, Failure> {
        let count = |queue: &&str| {
            let count = |what| {
                ask::redis_number(self.redis.port(), &format!("ZCARD {}", key(queue, what)))
                    .map_err(Failure::io("count the leases"))
            };
            Ok(count("leases")? + count("parked")?)
        };
        QUEUES.iter().map(count).sum()
    }

    /// The number of redelivered events whose row existed already.
    pub(super) fn duplicates(&self) -> Result<u64, Failure> {
        let sum = self.telemetry().psql("SELECT coalesce(sum(duplicate), 0) FROM settled_batches")?;
        sum.parse().map_err(|_| refuse(format!("psql counted {sum:?} duplicates")))
    }

    /// Posts a webhook as NIU does and returns the status.
    pub(super) fn post(&self, body: &str) -> Result<u16, Failure> {
        let client = http::Client::new(http::TIMEOUT);
        let response = client.post(self.api_port, "/webhooks/niu", ("token", NIU_TOKEN), body);
        response.map(|response| response.status).map_err(Failure::io("post a webhook"))
    }

    fn state(&self) -> &Postgres {
        &self.databases[0]
    }

    fn telemetry(&self) -> &Postgres {
        &self.databases[self.databases.len() - 1]
    }

    /// Prints the settings that durability depends on. Fails if one is weaker than required.
    fn require_durability(&self) -> Result<(), Failure> {
        for (name, required) in
            [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")]
        {
            let reply = ask::redis(self.redis.port(), &format!("CONFIG GET {name}"));
            let reply = reply.map_err(Failure::io(format!("read Redis' {name}")))?;
            require("Redis", name, reply.get(1).map_or("", String::as_str), required)?;
        }
        for name in ["fsync", "synchronous_commit"] {
            for database in &self.databases {
                let found = database.psql(&format!("SHOW {name}"))?;
                require("PostgreSQL", name, &found, "on")?;
            }
        }
        Ok(())
    }

    fn api_command(&self) -> Command {
        let mut command = self.command(API, RedisLogin::Api);
        command
            .env("FLEET_API__LISTEN", format!("127.0.0.1:{}", self.api_port))
            // Logs every failed push; the verdict counts them.
            .env("FLEET_LOG", "info,fleet_webhook_api::group_commit=debug")
            .env("FLEET_PROVIDERS__NIU__SECRETS", NIU_TOKEN)
            .env("FLEET_PROVIDERS__SEGWAY__SECRETS", SEGWAY_SECRET)
            .env("FLEET_PROVIDERS__INVERS__SECRETS", INVERS_TOKEN);
        command
    }

    /// The command of the consumer, which runs as the database user `login`.
    fn consumer(&self, login: DatabaseLogin) -> Command {
        let mut command = self.command("fleet-consumer", RedisLogin::Consumer);
        command.env("FLEET_CONSUMER__BATCH_MAX_MESSAGES", self.batch.to_string());
        let variables = ["FLEET_DATABASE_URL", "FLEET_TELEMETRY_DATABASE_URL"];
        for (index, (variable, database)) in variables.into_iter().zip(&self.databases).enumerate() {
            let url = self.behind(index + 1, database.port(), &database.url());
            command.env(variable, login.of(&url));
        }
        command
    }

    /// The command of a binary with this run's configuration.
    fn command(&self, binary: &str, login: RedisLogin) -> Command {
        let mut command = command::of(self.bin_dir, binary, "info");
        if let Some(failpoint) = self.failpoint {
            command.env(fleet_failpoints::VARIABLE, failpoint.name());
        }
        let url = login.of(&self.behind(0, self.redis.port(), &self.redis.url()));
        command.envs(LIMITS).env("FLEET_REDIS_URL", url);
        command
    }

    /// The server's URL with the port of its proxy.
    fn behind(&self, proxy: usize, port: u16, url: &str) -> String {
        let way = self.proxies.get(proxy).map_or(port, Proxy::port);
        url.replacen(&format!(":{port}"), &format!(":{way}"), 1)
    }
}

/// Makes the database refuse every write, like a server without disk space, or accept writes again.
pub(super) fn make_read_only(database: &Postgres, is_read_only: bool) -> Result<(), Failure> {
    let value = if is_read_only { "on" } else { "off" };
    // PostgreSQL runs two statements in one string as one transaction, and refuses ALTER SYSTEM in a
    // transaction.
    database.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"))?;
    database.psql("SELECT pg_reload_conf()")?;
    Ok(())
}

/// Changes the password of the consumers' user and ends its connections, or restores the password.
pub(super) fn change_password(database: &Postgres, is_wrong: bool) -> Result<(), Failure> {
    let [login, right] = APP;
    let password = if is_wrong { "changed" } else { right };
    database.psql(&format!(
        "ALTER ROLE {login} PASSWORD '{password}';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
    ))?;
    Ok(())
}

fn key(queue: &str, what: &str) -> String {
    format!("fleet:{{{queue}}}:{what}")
}

fn require(server: &str, name: &str, found: &str, required: &str) -> Result<(), Failure> {
    if found == required {
        eprintln!("{server}: {name} {found}");
        return Ok(());
    }
    Err(refuse(format!("{server}'s {name} is {found:?} and must be {required:?}")))
}

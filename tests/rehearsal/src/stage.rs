//! The servers, the API and the configuration of the processes.

use std::path::Path;
use std::process::Command;

use fleet_testbed::{DatabaseLogin, Postgres, Progress, Redis, RedisLogin, Root, free_port};

use super::plan::Plan;
use super::wire;
use crate::refuse::refuse;
use fleet_harness::{Failure, Interrupt, Program, command};

/// The name of the API and of its log.
pub(super) const API: &str = "fleet-webhook-api";

const CONSUMER: &str = "fleet-consumer";

/// `maxmemory` that deploy/k8s/README.md requires of Redis in production.
const MAXMEMORY: &[&str] = &["--maxmemory", "6gb"];

/// Everything that does not scale.
pub(super) struct Stage<'a> {
    redis: Redis,
    postgres: Postgres,
    bin_dir: &'a Path,
    /// The folder of the processes' logs.
    pub(super) logs: &'a Path,
    api_port: u16,
    plan: &'a Plan,
}

impl<'a> Stage<'a> {
    /// Starts private servers and migrates the database.
    pub(super) fn set(
        plan: &'a Plan,
        bin_dir: &'a Path,
        logs: &'a Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let progress = Progress::stderr();
        let root = Root::ensure(&progress)?;
        progress.say("starting Redis and TimescaleDB");
        let (redis, postgres) = (Redis::start(&root, MAXMEMORY)?, Postgres::start(&root, &[])?);
        drop(progress);
        let stage = Self { redis, postgres, bin_dir, logs, api_port: free_port()?, plan };
        stage.consumer_command("migrate", DatabaseLogin::Migrator, interrupt)?;
        Ok(stage)
    }

    /// Starts the API and waits until it is ready.
    pub(super) fn start_api(&self, interrupt: &Interrupt) -> Result<Program, Failure> {
        let mut command = self.command(API);
        command.env("FLEET_REDIS_URL", RedisLogin::Api.of(&self.redis.url()));
        command
            .env("FLEET_API__LISTEN", format!("127.0.0.1:{}", self.api_port))
            .env("FLEET_PROVIDERS__NIU__SECRETS", wire::NIU_TOKEN)
            .env("FLEET_PROVIDERS__INVERS__SECRETS", wire::INVERS_TOKEN);
        let mut api = Program::start(API, command, self.logs)?;
        api.wait_ready(interrupt)?;
        Ok(api)
    }

    /// Starts a replica of the consumer.
    pub(super) fn start_consumer(&self, name: &str) -> Result<Program, Failure> {
        Program::start(name, self.consumer(DatabaseLogin::Consumer), self.logs)
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

    /// The port for webhooks.
    pub(super) fn api_port(&self) -> u16 {
        self.api_port
    }

    /// The number of rows of a table.
    pub(super) fn rows(&self, table: &str) -> Result<u64, Failure> {
        let count = self.postgres.psql(&format!("SELECT count(*) FROM {table}"))?;
        count.parse().map_err(|_| refuse(format!("psql counted {count:?} rows of {table}")))
    }

    fn consumer(&self, login: DatabaseLogin) -> Command {
        let mut command = self.command(CONSUMER);
        command
            .env("FLEET_REDIS_URL", RedisLogin::Consumer.of(&self.redis.url()))
            .env("FLEET_DATABASE_URL", login.of(&self.postgres.url()));
        command
    }

    /// The command of a binary with this run's configuration. The log filter is fixed, because the verdict
    /// reads the logs.
    fn command(&self, binary: &str) -> Command {
        let plan = self.plan;
        let milliseconds = |time: std::time::Duration| format!("{}ms", time.as_millis());
        let mut command = command::of(self.bin_dir, binary, "info");
        command
            .env("FLEET_LOG", "info")
            .env("FLEET_CONSUMER__MAX_EVENTS_PER_SECOND", plan.choice.events_per_second.to_string())
            .env("FLEET_CONSUMER__LEASE", milliseconds(plan.lease))
            .env("FLEET_CONSUMER__HEARTBEAT", milliseconds(plan.lease / 5))
            .env("FLEET_CONSUMER__STATUS_INTERVAL", milliseconds(plan.status_interval))
            .env("FLEET_CONSUMER__BATCH_MAX_BYTES", format!("{:.0}", plan.batch_max_bytes));
        command
    }
}

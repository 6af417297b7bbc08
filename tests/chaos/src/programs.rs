//! The processes under test: their commands and their configuration.

use std::path::Path;
use std::process::Command;

use fleet_failpoints::Failpoint;
use fleet_testbed::{DatabaseLogin, INVERS_QUEUES, RedisLogin};

use crate::amqp_side::Broker;
use fleet_harness::{Failure, Interrupt, Limits, Program, command};

const NIU_TOKEN: &str = "chaos-niu-token";
const SEGWAY_SECRET: &str = "chaos-segway-secret";
const INVERS_TOKEN: &str = "chaos-invers-token";

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

/// The same for the bridge. After several connections that acknowledged nothing it pauses for seconds and not for minutes.
const BRIDGE_LIMITS: [(&str, &str); 6] = [
    ("FLEET_AMQP__TIMEOUT", "3s"),
    ("FLEET_AMQP__HEARTBEAT", "2s"),
    ("FLEET_AMQP__CHECK_INTERVAL", "1s"),
    ("FLEET_AMQP__RETRY_MIN", "100ms"),
    ("FLEET_AMQP__RETRY_MAX", "500ms"),
    ("FLEET_AMQP__ABORT_PAUSE", "1s"),
];

/// The name of the bridge and of its log.
pub(super) const BRIDGE: &str = "fleet-amqp-bridge";

/// The name of the API and of its log.
pub(super) const API: &str = "fleet-webhook-api";

/// The name of the query service and of its log.
pub(super) const QUERY: &str = "fleet-query-api";

/// The name of a consumer and of its log.
pub(super) fn consumer_name(index: usize) -> String {
    format!("fleet-consumer-{index}")
}

/// Starts the processes of one run.
pub(super) struct Programs<'a> {
    /// The folder of the processes' logs.
    pub(super) logs: &'a Path,
    pub(super) bin_dir: &'a Path,
    pub(super) failpoint: Option<Failpoint>,
    pub(super) batch: u32,
    /// The port that every API of this run uses.
    pub(super) api_port: u16,
    /// The port that every query service of this run uses.
    pub(super) query_port: u16,
    /// The processes' memory limits.
    pub(super) limits: Limits,
    /// The administrator's URL of Redis.
    pub(super) redis_url: String,
    /// How to find and use the Redis servers.
    pub(super) redis_settings: Vec<(&'static str, &'static str)>,
    /// The administrator's URLs of the databases.
    pub(super) database_urls: Vec<String>,
    /// Where INVERS' events come from, if not by webhook.
    pub(super) broker: Option<Broker>,
}

impl Programs<'_> {
    /// Starts an API on the port that every API of this run uses.
    pub(super) fn start_api(&self) -> Result<Program, Failure> {
        Program::start_in(self.limits.api()?, API, self.api_command(), self.logs)
    }

    /// Starts a query service on the port that every one of this run uses, as a member of `fleet_reader`.
    pub(super) fn start_query(&self) -> Result<Program, Failure> {
        let mut command = self.base(QUERY);
        command.env("FLEET_QUERY__LISTEN", format!("127.0.0.1:{}", self.query_port));
        self.add_databases(&mut command, DatabaseLogin::Reader);
        Program::start_in(self.limits.query()?, QUERY, command, self.logs)
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

    /// Starts the bridge, if there is a broker.
    pub(super) fn start_bridge(&self) -> Result<Option<Program>, Failure> {
        let Some(broker) = &self.broker else { return Ok(None) };
        let mut command = self.command(BRIDGE, RedisLogin::Api);
        command
            .envs(BRIDGE_LIMITS)
            .env("FLEET_AMQP__URL", &broker.consumer_url)
            .env("FLEET_AMQP__QUEUES", INVERS_QUEUES.join(","))
            .env("FLEET_AMQP__CA_FILE", &broker.ca_file);
        Program::start_in(self.limits.bridge()?, BRIDGE, command, self.logs).map(Some)
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
    pub(super) fn simulator(&self, redis_urls: &[String], [state, telemetry]: [String; 2]) -> Command {
        let mut command = command::of(self.bin_dir, "fleet-simulator", "info");
        command
            .arg("run")
            .args(["--api", &format!("http://127.0.0.1:{}", self.api_port)])
            .args(["--database-url", &DatabaseLogin::Reader.of(&state)])
            .args(["--telemetry-database-url", &DatabaseLogin::Reader.of(&telemetry)])
            .args(redis_urls.iter().flat_map(|url| ["--redis-url", url]))
            .args(["--niu-token", NIU_TOKEN])
            .args(["--segway-secret", SEGWAY_SECRET])
            .args(["--invers-token", INVERS_TOKEN]);
        if let Some(broker) = &self.broker {
            command
                .args(["--amqp-url", &broker.publisher_url])
                .args(INVERS_QUEUES.iter().flat_map(|queue| ["--amqp-queue", queue]))
                .arg("--amqp-ca-file")
                .arg(&broker.ca_file);
        }
        command
    }

    /// The API's port, and the token of the provider NIU.
    pub(super) fn niu(&self) -> (u16, &'static str) {
        (self.api_port, NIU_TOKEN)
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
        // So that some batches are large, and some are moved within Redis.
        command.env("FLEET_CONSUMER__CLAIM_MAX_MESSAGES", (self.batch / 2).max(1).to_string());
        self.add_databases(&mut command, login);
        command
    }

    fn add_databases(&self, command: &mut Command, login: DatabaseLogin) {
        let variables = ["FLEET_DATABASE_URL", "FLEET_TELEMETRY_DATABASE_URL"];
        for (variable, url) in variables.into_iter().zip(&self.database_urls) {
            command.env(variable, login.of(url));
        }
    }

    /// The command of a binary with this run's limits.
    fn base(&self, binary: &str) -> Command {
        let mut command = command::of(self.bin_dir, binary, "info");
        if let Some(failpoint) = self.failpoint {
            command.env(fleet_failpoints::VARIABLE, failpoint.name());
        }
        command.envs(LIMITS);
        command
    }

    /// The command of a binary that uses Redis.
    fn command(&self, binary: &str, login: RedisLogin) -> Command {
        let mut command = self.base(binary);
        command.envs(self.redis_settings.iter().copied());
        command.env("FLEET_REDIS_URL", login.of(&self.redis_url));
        command
    }
}

//! The demo's servers, and the command lines of its programs.

use std::path::Path;
use std::process::Command;

use fleet_harness::command;
use fleet_testbed::{AmqpLogin, DatabaseLogin, INVERS_QUEUES, RabbitMq, RedisLogin, Services};

pub(crate) const API: &str = "fleet-webhook-api";
pub(crate) const CONSUMER: &str = "fleet-consumer";
pub(crate) const QUERY: &str = "fleet-query-api";
pub(crate) const BRIDGE: &str = "fleet-amqp-bridge";

/// The API's limit in docker-compose.yml. The limits of all providers together are three quarters of Redis'
/// `maxmemory`.
const MAX_BACKLOG_BYTES: &str = "268435456";

pub(crate) const NIU_TOKEN: &str = "demo-niu-token";
pub(crate) const SEGWAY_SECRET: &str = "demo-segway-secret";
pub(crate) const INVERS_TOKEN: &str = "demo-invers-token";

/// What the processes of the demo share.
pub(crate) struct Stage<'a> {
    pub(crate) bin_dir: &'a Path,
    pub(crate) services: &'a Services,
    pub(crate) api_port: u16,
    pub(crate) query_port: u16,
    /// Where INVERS' events come from, if not by webhook.
    pub(crate) broker: Option<&'a RabbitMq>,
}

impl Stage<'_> {
    /// The command of the API with the demo's configuration.
    pub(crate) fn api(&self) -> Command {
        let mut command = command::of(self.bin_dir, API, "warn");
        command
            .env("FLEET_REDIS_URL", self.services.redis_url(RedisLogin::Api))
            .env("FLEET_API__LISTEN", format!("127.0.0.1:{}", self.api_port));
        for (provider, secret) in [("NIU", NIU_TOKEN), ("SEGWAY", SEGWAY_SECRET), ("INVERS", INVERS_TOKEN)] {
            command
                .env(format!("FLEET_PROVIDERS__{provider}__SECRETS"), secret)
                .env(format!("FLEET_PROVIDERS__{provider}__MAX_BACKLOG_BYTES"), MAX_BACKLOG_BYTES);
        }
        command
    }

    /// The command of the consumer, which runs as the database user `login`.
    pub(crate) fn consumer(&self, login: DatabaseLogin) -> Command {
        let mut command = command::of(self.bin_dir, CONSUMER, "warn");
        command
            .env("FLEET_REDIS_URL", self.services.redis_url(RedisLogin::Consumer))
            .env("FLEET_DATABASE_URL", self.services.database_url(login));
        command
    }

    /// The command of the bridge, which consumes this broker.
    pub(crate) fn bridge(&self, broker: &RabbitMq) -> Command {
        let mut command = command::of(self.bin_dir, BRIDGE, "warn");
        command
            .env("FLEET_REDIS_URL", self.services.redis_url(RedisLogin::Api))
            .env("FLEET_PROVIDERS__INVERS__MAX_BACKLOG_BYTES", MAX_BACKLOG_BYTES)
            .env("FLEET_AMQP__URL", broker.url(AmqpLogin::Consumer))
            .env("FLEET_AMQP__QUEUES", INVERS_QUEUES.join(","))
            .env("FLEET_AMQP__CA_FILE", broker.certificate_file());
        command
    }

    /// The command of the query service, which everybody on this machine may ask.
    pub(crate) fn query(&self) -> Command {
        let mut command = command::of(self.bin_dir, QUERY, "warn");
        command
            .env("FLEET_DATABASE_URL", self.services.database_url(DatabaseLogin::Reader))
            .env("FLEET_QUERY__LISTEN", format!("127.0.0.1:{}", self.query_port));
        command
    }
}

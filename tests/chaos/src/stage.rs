//! The servers, the processes under test and their configuration.

use std::path::Path;

use fleet_failpoints::Failpoint;
use fleet_testbed::{DatabaseLogin, Progress, Root, free_port};

use crate::amqp_side::AmqpSide;
use crate::database_side::{Alone, DatabaseSide, WithStandby};
use crate::layout::{Layout, StageName};
use crate::programs::Programs;
use crate::query::Query;
use crate::redis_side::{self, Cluster, RedisSide, Single, WithSentinels};
use crate::refuse::refuse;
use crate::schedule::CONSUMERS;
use fleet_harness::{Failure, Interrupt, Limits, Program, http};

/// Everything that a fault may hit, and what is needed to replace it. The processes end before the servers.
pub(super) struct Stage<'a> {
    pub(super) api: Option<Program>,
    pub(super) consumers: Vec<Program>,
    /// The query service and its client. `None` until it has been started.
    pub(super) query: Option<Query>,
    /// Consumers that got SIGTERM and have not ended yet.
    pub(super) leaving: Vec<Program>,
    /// In the stage `amqp`.
    pub(super) amqp: Option<AmqpSide>,
    pub(super) redis: Box<dyn RedisSide>,
    pub(super) databases: Box<dyn DatabaseSide>,
    pub(super) programs: Programs<'a>,
}

impl<'a> Stage<'a> {
    /// Starts the servers, checks that they are as durable as in production, migrates the databases and
    /// starts the processes.
    pub(super) fn set(
        bin_dir: &'a Path,
        layout: Layout,
        failpoint: Option<Failpoint>,
        batch: u32,
        limits: Limits,
        logs: &'a Path,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let progress = Progress::stderr();
        let root = Root::ensure(&progress)?;
        progress.say("starting Redis and TimescaleDB");
        let redis: Box<dyn RedisSide> = match layout.stage {
            StageName::Single | StageName::Amqp => Box::new(Single::start(&root)?),
            StageName::Failover => Box::new(WithSentinels::start(&root)?),
            StageName::Cluster => Box::new(Cluster::start(&root)?),
        };
        let databases: Box<dyn DatabaseSide> = match layout.stage {
            StageName::Single | StageName::Amqp => Box::new(Alone::start(&root, layout.databases)?),
            StageName::Failover | StageName::Cluster => Box::new(WithStandby::start(&root)?),
        };
        let amqp = match layout.stage {
            StageName::Amqp => Some(AmqpSide::start(&progress)?),
            StageName::Single | StageName::Failover | StageName::Cluster => None,
        };
        drop(progress);
        let programs = Programs {
            logs,
            bin_dir,
            failpoint,
            batch,
            api_port: free_port()?,
            query_port: free_port()?,
            limits,
            redis_url: redis.url(),
            redis_settings: redis.settings(),
            database_urls: databases.urls(),
            broker: amqp.as_ref().map(AmqpSide::broker),
        };
        let mut stage = Self {
            api: None,
            consumers: Vec::new(),
            query: None,
            leaving: Vec::new(),
            amqp,
            redis,
            databases,
            programs,
        };
        stage.require_durability()?;
        stage.programs.consumer_command("migrate", DatabaseLogin::Migrator, interrupt)?;
        let mut api = stage.programs.start_api()?;
        api.wait_ready(interrupt)?;
        stage.api = Some(api);
        for index in 0..CONSUMERS {
            let mut consumer = stage.programs.start_consumer(index)?;
            consumer.wait_ready(interrupt)?;
            stage.consumers.push(consumer);
        }
        let mut query = stage.programs.start_query()?;
        query.wait_ready(interrupt)?;
        stage.query = Some(Query::follow(query, stage.programs.query_port)?);
        if let Some(amqp) = &mut stage.amqp {
            amqp.bridge = stage.programs.start_bridge()?;
            amqp.bridge.iter_mut().try_for_each(|bridge| bridge.wait_ready(interrupt))?;
        }
        Ok(stage)
    }

    /// The broker and the bridge.
    pub(super) fn amqp(&mut self) -> Result<&mut AmqpSide, Failure> {
        self.amqp.as_mut().ok_or_else(|| refuse("this stage has no broker"))
    }

    /// Whether the API has accepted any webhook.
    pub(super) fn has_accepted(&self) -> bool {
        let exists =
            |queue: &String| redis_side::number(&*self.redis, queue, "HLEN", "ledger").unwrap_or_default();
        self.redis.queues().iter().any(|queue| exists(queue) > 0)
    }

    /// The number of batches that are claimed or set aside, in all queues.
    pub(super) fn leases(&self) -> Result<u64, Failure> {
        let count = |queue: &String| {
            let count = |what| redis_side::number(&*self.redis, queue, "ZCARD", what);
            Ok(count("leases")? + count("parked")?)
        };
        self.redis.queues().iter().map(count).sum()
    }

    /// The number of redelivered events whose row existed already.
    pub(super) fn duplicates(&mut self) -> Result<u64, Failure> {
        // The telemetry is in the last database.
        let telemetry = self.databases.primary(1)?;
        let sum = telemetry.psql("SELECT coalesce(sum(duplicate), 0) FROM settled_batches")?;
        sum.parse().map_err(|_| refuse(format!("psql counted {sum:?} duplicates")))
    }

    /// Posts a webhook as NIU does and returns the status.
    pub(super) fn post(&self, body: &str) -> Result<u16, Failure> {
        let client = http::Client::new(http::TIMEOUT);
        let (port, token) = self.programs.niu();
        let response = client.post(port, "/webhooks/niu", ("token", token), body);
        response.map(|response| response.status).map_err(Failure::io("post a webhook"))
    }

    /// Prints the settings that durability depends on. Fails if one is weaker than required.
    fn require_durability(&self) -> Result<(), Failure> {
        for (name, required) in
            [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")]
        {
            for redis in self.redis.servers() {
                let reply = redis.command(&["CONFIG", "GET", name])?;
                require("Redis", name, reply.get(1).map_or("", String::as_str), required)?;
            }
        }
        for name in ["fsync", "synchronous_commit"] {
            for database in self.databases.primaries() {
                let found = database.psql(&format!("SHOW {name}"))?;
                require("PostgreSQL", name, &found, "on")?;
            }
        }
        self.amqp.as_ref().map_or(Ok(()), AmqpSide::require_durability)
    }
}

fn require(server: &str, name: &str, found: &str, required: &str) -> Result<(), Failure> {
    if found == required {
        eprintln!("{server}: {name} {found}");
        return Ok(());
    }
    Err(refuse(format!("{server}'s {name} is {found:?} and must be {required:?}")))
}

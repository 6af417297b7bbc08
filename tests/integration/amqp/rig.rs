//! The bridge as a process, and what it has pushed.

use std::collections::BTreeSet;
use std::process::Command;

use fleet_queue::Envelope;

use super::broker::Broker;
use crate::process::program::{Program, Site};
use crate::support::eventually;

/// Nothing of the bridge needs a database.
const NO_DATABASE: &str = "postgres://nobody@127.0.0.1:1/none";

/// Where the bridge pushes, and how often it retries in tests.
pub(super) struct Rig {
    pub(super) site: Site,
}

/// One pushed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    pub(super) topic: String,
    pub(super) content_type: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Rig {
    /// With the tests' Redis.
    pub(super) fn new() -> Self {
        Self { site: Site::new(NO_DATABASE) }
    }

    /// With this Redis.
    pub(super) fn on(redis_url: &str) -> Self {
        let mut rig = Self::new();
        rig.site.redis = redis_url.to_owned();
        rig
    }

    /// The bridge's command line, with short times.
    pub(super) fn command(&self, broker: &Broker, queues: &[&str]) -> Command {
        self.command_to(broker, &broker.url(), queues)
    }

    /// As [`Rig::command`], with this URL of the broker.
    pub(super) fn command_to(&self, broker: &Broker, url: &str, queues: &[&str]) -> Command {
        let mut command = self.site.bridge(&[]);
        command
            .env("FLEET_AMQP__URL", url)
            .env("FLEET_AMQP__QUEUES", queues.join(","))
            .env("FLEET_AMQP__CA_FILE", broker.authority.file())
            .env("FLEET_AMQP__TIMEOUT", "3s")
            .env("FLEET_AMQP__HEARTBEAT", "2s")
            .env("FLEET_AMQP__CHECK_INTERVAL", "500ms")
            .env("FLEET_AMQP__RETRY_MIN", "50ms")
            .env("FLEET_AMQP__RETRY_MAX", "500ms")
            .env("FLEET_QUEUE__TIMEOUT", "1s");
        command
    }

    /// Starts the bridge, and waits until it consumes all queues.
    pub(super) async fn consuming(&self, broker: &Broker, queues: &[&str]) -> Program {
        let mut bridge = Program::start(&mut self.command(broker, queues));
        bridge.readiness(200).await;
        bridge
    }

    /// What is in INVERS' queue in Redis.
    pub(super) async fn pushed(&self) -> Vec<Pushed> {
        let items = self.list().await;
        let read = |item: &Vec<u8>| {
            let envelope = Envelope::decode(item).unwrap();
            Pushed {
                topic: envelope.topic.to_owned(),
                content_type: envelope.content_type.map(str::to_owned),
                body: envelope.body.to_owned(),
            }
        };
        items.iter().map(read).collect()
    }

    /// The different bodies in INVERS' queue. A message may be pushed twice, which is stored once.
    pub(super) async fn bodies(&self) -> BTreeSet<Vec<u8>> {
        self.pushed().await.into_iter().map(|pushed| pushed.body).collect()
    }

    /// Waits until all of these are in INVERS' queue.
    pub(super) async fn all_pushed(&self, bodies: &[impl AsRef<[u8]>]) {
        let expected: BTreeSet<_> = bodies.iter().map(|body| body.as_ref().to_vec()).collect();
        eventually(&format!("{} messages to be pushed", expected.len()), async || {
            expected.is_subset(&self.bodies().await).then_some(())
        })
        .await;
    }

    async fn list(&self) -> Vec<Vec<u8>> {
        let key = format!("{}:{{invers}}:queue", self.site.prefix);
        let client = redis::Client::open(self.site.redis.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("LRANGE").arg(key).arg(0).arg(-1).query_async(&mut connection).await.unwrap()
    }
}

/// The sum of a metric's series that have this text in their labels.
pub(super) async fn total(bridge: &Program, metric: &str, label: &str) -> f64 {
    let (_status, text) = eventually("metrics", async || bridge.get("/metrics").await).await;
    let series = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Waits until that sum is at least this much.
pub(super) async fn reaches(bridge: &Program, metric: &str, label: &str, least: f64) {
    eventually(&format!("{metric} {label} to reach {least}"), async || {
        (total(bridge, metric, label).await >= least).then_some(())
    })
    .await;
}

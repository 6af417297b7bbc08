//! The RabbitMQ that INVERS publishes its events to, the bridge, and the faults that hit them.

use std::path::PathBuf;

use fleet_testbed::{AmqpLogin, INVERS_QUEUES, Progress, Proxy, RabbitMq, RabbitMqOptions};

use crate::refuse::refuse;
use fleet_harness::{Failure, Program, http};

/// A RabbitMQ with a quorum queue and a classic one, and the bridge that consumes both through a proxy. INVERS itself, which is the
/// simulator, publishes without the proxy.
///
/// Until [`AmqpSide::recover`] returns true after a fault, there is no other one.
pub(super) struct AmqpSide {
    /// `None` until it is started, and after the run.
    pub(super) bridge: Option<Program>,
    way: Proxy,
    rabbit: RabbitMq,
}

/// How the bridge and the simulator reach a RabbitMQ.
pub(super) struct Broker {
    /// The URL for the bridge.
    pub(super) consumer_url: String,
    /// The URL for the simulator.
    pub(super) publisher_url: String,
    pub(super) ca_file: PathBuf,
}

impl AmqpSide {
    /// Starts the server. After that it also keeps its queues if it is killed.
    pub(super) fn start(progress: &Progress) -> Result<Self, Failure> {
        progress.say("starting RabbitMQ");
        let rabbit = RabbitMq::start(&RabbitMqOptions::of_invers()?, progress)?;
        rabbit.sync_queues()?;
        Ok(Self { bridge: None, way: Proxy::start(rabbit.port())?, rabbit })
    }

    pub(super) fn broker(&self) -> Broker {
        Broker {
            consumer_url: RabbitMq::url_at(AmqpLogin::Consumer, self.way.port()),
            publisher_url: self.rabbit.url(AmqpLogin::Admin),
            ca_file: self.rabbit.certificate_file(),
        }
    }

    /// Prints what kinds of queues there are. Fails if one would not survive a restart.
    pub(super) fn require_durability(&self) -> Result<(), Failure> {
        for queue in self.list(&["name", "type", "durable"])? {
            if !queue.ends_with("true") {
                return Err(refuse(format!("RabbitMQ's queue is not durable: {queue}")));
            }
            eprintln!("RabbitMQ: {queue}");
        }
        Ok(())
    }

    /// Kills the server and starts it again. Its data remains.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.rabbit.kill()?;
        Ok(self.rabbit.begin_restart()?)
    }

    /// Closes the bridge's connections.
    pub(super) fn cut(&self) {
        self.way.cut();
    }

    /// Delivers nothing between the bridge and the server.
    pub(super) fn black_hole(&self) {
        self.way.black_hole();
    }

    /// Ends [`AmqpSide::black_hole`].
    pub(super) fn heal(&self) {
        self.way.heal();
    }

    /// Whether the server has started again, and the bridge consumes every queue.
    pub(super) fn recover(&mut self) -> Result<bool, Failure> {
        let is_ready = |bridge: &Program| http::is_ok(bridge.admin_port(), "/readyz", http::TIMEOUT);
        Ok(self.rabbit.is_ready()? && self.bridge.as_ref().is_some_and(is_ready))
    }

    /// The messages that nobody has acknowledged, in all queues.
    pub(super) fn unacknowledged(&self) -> Result<u64, Failure> {
        let count = |line: &String| {
            line.parse::<u64>().map_err(|_| refuse(format!("RabbitMQ counted {line:?} messages")))
        };
        self.list(&["messages"])?.iter().map(count).sum()
    }

    /// What RabbitMQ says about its queues, one line for each.
    fn list(&self, columns: &[&str]) -> Result<Vec<String>, Failure> {
        let all = [&["list_queues", "--vhost", "customer", "--no-table-headers"], columns].concat();
        let lines: Vec<_> = self.rabbit.ctl(&all)?.lines().map(str::to_owned).collect();
        if lines.len() == INVERS_QUEUES.len() {
            return Ok(lines);
        }
        Err(refuse(format!("RabbitMQ has other queues than it began with: {}", lines.join(", "))))
    }
}

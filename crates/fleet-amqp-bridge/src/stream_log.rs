//! Log lines about the consumers of one of the broker's queues, and about the connections.

use std::time::Instant;

use fleet_runtime::outage::{Failing, OutageLog, Over};

use crate::fault::Fault;
use crate::pace::{Pause, Remains};

/// Logs when a queue is not consumed: one line when it begins, one a minute, and one when it is over.
#[derive(Debug)]
pub(crate) struct StreamLog {
    amqp_queue: String,
    outage: OutageLog,
}

impl StreamLog {
    pub(crate) fn new(amqp_queue: String) -> Self {
        Self { amqp_queue, outage: OutageLog::default() }
    }

    /// A consumer has ended, or could not be started.
    pub(crate) fn ended(&mut self, fault: &Fault, remains: Remains, pause: Pause) {
        let reason: &str = fault.reason().into();
        let Pause { lasts, aborts } = pause;
        if aborts > 0 {
            tracing::warn!(
                amqp_queue = self.amqp_queue,
                aborts,
                pause_seconds = lasts.as_secs(),
                reason,
                error = %fault,
                "consumers of this queue have ended several times in a row and acknowledged little or nothing: pausing, because \
                 quorum queues discard a message that is delivered too often; see the runbook, FleetBridgeReconnecting"
            );
            return;
        }
        if let Some(Failing { failures, lasted }) = self.outage.failed(Instant::now(), 1) {
            tracing::warn!(
                amqp_queue = self.amqp_queue,
                failures,
                seconds = lasted.as_secs(),
                reason,
                unacked = remains.unacked,
                error = %fault,
                "this queue is not consumed: the bridge retries, and the broker delivers unacknowledged messages again"
            );
        }
    }

    /// A consumer has started.
    pub(crate) fn started(&mut self) {
        if let Some(Over { failures, lasted }) = self.outage.succeeded(Instant::now()) {
            tracing::info!(
                amqp_queue = self.amqp_queue,
                failures,
                seconds = lasted.as_secs(),
                "this queue is consumed again"
            );
        }
    }
}

/// Logs when there is no connection to the broker.
#[derive(Debug)]
pub(crate) struct LinkLog {
    broker: String,
    /// Whether there was a connection before.
    was_connected: bool,
    outage: OutageLog,
}

impl LinkLog {
    pub(crate) fn new(broker: String) -> Self {
        Self { broker, was_connected: false, outage: OutageLog::default() }
    }

    /// The connection has ended, or could not be opened.
    pub(crate) fn failed(&mut self, fault: &Fault) {
        let reason: &str = fault.reason().into();
        if let Some(Failing { failures, lasted }) = self.outage.failed(Instant::now(), 1) {
            tracing::warn!(
                broker = self.broker,
                failures,
                seconds = lasted.as_secs(),
                reason,
                error = %fault,
                "no connection to the broker: retrying"
            );
        }
    }

    /// A connection is open.
    pub(crate) fn connected(&mut self) {
        let over = self.outage.succeeded(Instant::now());
        if let Some(Over { failures, lasted }) = over {
            tracing::info!(
                broker = self.broker,
                failures,
                seconds = lasted.as_secs(),
                "connected to the broker again"
            );
        } else if !self.was_connected {
            tracing::info!(broker = self.broker, "connected to the broker");
        }
        self.was_connected = true;
    }
}

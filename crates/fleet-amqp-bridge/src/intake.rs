//! Takes the messages of one of the broker's queues from its consumer.

use std::time::Instant;

use fleet_runtime::outage::{Failing, OutageLog};
use lapin::message::Delivery;

use crate::message::{Encoded, earlier_deliveries, encode};
use crate::metrics::LaneMetrics;
use crate::subscription::{Receipt, Subscription};
use crate::window::Window;

/// Deliveries of one message from which on the log warns.
const MANY_DELIVERIES: u64 = 5;

/// Encodes, counts, and keeps what is delivered.
pub(crate) struct Intake {
    amqp_queue: String,
    max_body_bytes: usize,
    metrics: LaneMetrics,
    oversize: OutageLog,
    delivered_often: OutageLog,
}

impl Intake {
    pub(crate) fn new(amqp_queue: &str, max_body_bytes: usize, metrics: LaneMetrics) -> Self {
        Self {
            amqp_queue: amqp_queue.to_owned(),
            max_body_bytes,
            metrics,
            oversize: OutageLog::default(),
            delivered_often: OutageLog::default(),
        }
    }

    /// Adds a message to the window.
    pub(crate) fn add(
        &mut self,
        subscription: &Subscription,
        window: &mut Window<Receipt>,
        delivery: &Delivery,
    ) {
        let Encoded { item, oversize_bytes } = encode(delivery, self.max_body_bytes);
        self.metrics.received(delivery.redelivered, oversize_bytes.is_some());
        if let Some(bytes) = oversize_bytes {
            self.say_oversize(bytes);
        }
        let earlier = earlier_deliveries(&delivery.properties);
        if earlier >= MANY_DELIVERIES {
            self.say_delivered_often(earlier);
        }
        window.add(item, subscription.receipt(delivery));
        self.metrics.unacked(window.unacked());
    }

    /// At most one line a minute.
    fn say_oversize(&mut self, bytes: usize) {
        if let Some(Failing { failures, .. }) = self.oversize.failed(Instant::now(), 1) {
            tracing::warn!(
                amqp_queue = self.amqp_queue,
                messages = failures,
                bytes,
                max_bytes = self.max_body_bytes,
                "messages are above the size limit: pushing only their beginning, which becomes a dead letter"
            );
        }
    }

    /// At most one line a minute.
    fn say_delivered_often(&mut self, earlier_deliveries: u64) {
        if let Some(Failing { failures, .. }) = self.delivered_often.failed(Instant::now(), 1) {
            tracing::warn!(
                amqp_queue = self.amqp_queue,
                messages = failures,
                earlier_deliveries,
                "messages were delivered several times and not acknowledged: find out what ends the bridge or its connections, \
                 because quorum queues discard a message after 20 deliveries by default"
            );
        }
    }
}

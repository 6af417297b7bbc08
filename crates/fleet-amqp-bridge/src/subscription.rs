//! The consumer of one queue on one connection.

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer, Queue};

use crate::fault::{Fault, Step};
use crate::link::Link;

/// A consumer with a channel of its own. Close it in the end: until then its messages belong to it.
pub(crate) struct Subscription {
    channel: Channel,
    consumer: Consumer,
    queue: ShortString,
    generation: u64,
    /// The broker may forbid questions about its queues.
    may_ask: bool,
    /// Why the consumer has ended, until [`Subscription::next`] returns it.
    ended: Option<Fault>,
    /// Whether this side has ended the deliveries.
    is_cancelled: bool,
}

/// The means to acknowledge one message, and the generation of the connection that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    generation: u64,
    acker: Acker,
}

/// What the broker knows about a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    /// Messages that no consumer has.
    pub(crate) waiting: u32,
    pub(crate) consumers: u32,
}

impl Subscription {
    /// Starts to consume. Sets `is_asked` if the broker may have started a consumer, also if this fails: it may respond too late.
    ///
    /// # Errors
    ///
    /// [`Fault`], for example if the queue does not exist.
    pub(crate) async fn open(
        link: &Link,
        queue: &ShortString,
        prefetch: u16,
        is_asked: &mut bool,
    ) -> Result<Self, Fault> {
        let channel = link.timed(Step::Consume, link.channel()).await?;
        let opening = async {
            // It bounds the memory of this process: lapin keeps what has been delivered.
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            let options = BasicConsumeOptions::default();
            *is_asked = true;
            Ok(channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?)
        };
        match link.timed(Step::Consume, opening).await {
            Ok(consumer) => {
                let (queue, generation) = (queue.clone(), link.generation);
                Ok(Self {
                    channel,
                    consumer,
                    queue,
                    generation,
                    may_ask: true,
                    ended: None,
                    is_cancelled: false,
                })
            }
            Err(fault) => {
                if fault.is_rejection() {
                    *is_asked = false;
                }
                abandon(link, &channel).await;
                Err(fault)
            }
        }
    }

    /// The next message. Waits for ever after [`Subscription::cancel`].
    ///
    /// # Errors
    ///
    /// [`Fault`] if the consumer has ended.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Fault> {
        if let Some(fault) = self.ended.take() {
            return Err(fault);
        }
        match self.consumer.next().await {
            Some(delivery) => Ok(delivery?),
            None if self.is_cancelled => std::future::pending().await,
            None => Err(Fault::Cancelled),
        }
    }

    /// The next message, if it is here already. `None` also if the consumer has ended: [`Subscription::next`] says why.
    pub(crate) fn next_now(&mut self) -> Option<Delivery> {
        match self.consumer.next().now_or_never()? {
            Some(Ok(delivery)) => return Some(delivery),
            Some(Err(error)) => self.ended = Some(Fault::Client(error)),
            None if self.is_cancelled => {}
            None => self.ended = Some(Fault::Cancelled),
        }
        None
    }

    /// The receipt of a message of this consumer.
    pub(crate) fn receipt(&self, delivery: &Delivery) -> Receipt {
        Receipt { generation: self.generation, acker: delivery.acker.clone() }
    }

    /// Acknowledges a message and all before it.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the ack cannot be sent.
    pub(crate) async fn ack_up_to(&self, link: &Link, receipt: &Receipt) -> Result<(), Fault> {
        if receipt.generation != link.generation {
            return Err(Fault::Stale);
        }
        let sending = async { Ok(receipt.acker.ack(BasicAckOptions { multiple: true }).await?) };
        tokio::pin!(sending);
        loop {
            match link.timed(Step::Ack, &mut sending).await {
                Ok(true) => return Ok(()),
                // Another connection would return the other queues' messages too.
                Ok(false) if link.is_up() => return Err(Fault::ChannelClosed),
                Ok(false) => return Err(Fault::Down),
                // The broker takes nothing for now. If this ended the connection, all messages would be delivered again.
                Err(Fault::Timeout { .. }) if link.is_blocked() && link.is_up() => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Asks the broker about the queue, on another channel, because a refusal closes the channel.
    ///
    /// # Errors
    ///
    /// [`Fault::Forgotten`] if no consumer of the queue is known; any other [`Fault`].
    pub(crate) async fn check(&mut self, link: &Link) -> Result<Option<QueueCounts>, Fault> {
        if !self.channel.status().connected() {
            return Err(Fault::Cancelled);
        }
        let channel = link.timed(Step::Check, link.channel()).await?;
        let asked = if self.may_ask {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let asking = async {
                Ok(Some(channel.queue_declare(self.queue.clone(), options, FieldTable::default()).await?))
            };
            link.timed(Step::Check, asking).await
        } else {
            // The new channel has shown that the broker responds.
            Ok(None)
        };
        abandon(link, &channel).await;
        let counts =
            |found: Queue| QueueCounts { waiting: found.message_count(), consumers: found.consumer_count() };
        match asked.map(|found| found.map(counts)) {
            Ok(Some(QueueCounts { consumers: 0, .. })) => Err(Fault::Forgotten),
            Ok(counts) => Ok(counts),
            Err(fault) if fault.is_refusal() => {
                self.may_ask = false;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Closes the channel after a fault, so that the broker can deliver its messages again.
    pub(crate) async fn abandon(&self, link: &Link) {
        abandon(link, &self.channel).await;
    }

    /// Closes the channel. When this returns, the broker has processed every ack.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the broker does not confirm it.
    pub(crate) async fn close(&self, link: &Link) -> Result<(), Fault> {
        let closing = async { Ok(self.channel.close(200, "OK".into()).await?) };
        link.timed(Step::Close, closing).await
    }

    /// Ends the deliveries. What has been delivered stays here until it is acknowledged.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the broker does not confirm it.
    pub(crate) async fn cancel(&mut self, link: &Link) -> Result<(), Fault> {
        self.is_cancelled = true;
        let cancelling = async {
            Ok(self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?)
        };
        link.timed(Step::Cancel, cancelling).await
    }
}

/// Closes a channel that is not needed any more. If the broker responds late to an operation on it, it processes this after that:
/// otherwise a consumer that starts late would take messages that nobody acknowledges.
async fn abandon(link: &Link, channel: &Channel) {
    let closing = async { Ok(channel.close(200, "OK".into()).await?) };
    // Fails if the broker has closed the channel. If it does not respond, it has the request nevertheless.
    drop(link.timed(Step::Close, closing).await);
}

//! The consumer of one queue on one connection.

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Consumer};

use crate::fault::{Fault, Step};
use crate::link::Link;

/// A consumer with a channel of its own. Dropping it closes the channel.
pub(crate) struct Subscription {
    channel: Channel,
    consumer: Consumer,
    queue: ShortString,
    generation: u64,
    /// The broker may forbid questions about its queues.
    may_ask: bool,
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
    /// Starts to consume.
    ///
    /// # Errors
    ///
    /// [`Fault`], for example if the queue does not exist.
    pub(crate) async fn open(link: &Link, queue: &ShortString, prefetch: u16) -> Result<Self, Fault> {
        let opening = async {
            let channel = link.channel().await?;
            // It bounds the memory of this process: lapin keeps what has been delivered.
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            let options = BasicConsumeOptions::default();
            let consumer =
                channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?;
            Ok((channel, consumer))
        };
        let (channel, consumer) = link.timed(Step::Consume, opening).await?;
        let generation = link.generation;
        Ok(Self { channel, consumer, queue: queue.clone(), generation, may_ask: true })
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the consumer has ended.
    pub(crate) async fn next(&mut self) -> Result<Delivery, Fault> {
        match self.consumer.next().await {
            Some(delivery) => Ok(delivery?),
            None => Err(Fault::Cancelled),
        }
    }

    /// The next message, if it is here already. `None` also if the consumer has ended: [`Subscription::next`] says why.
    pub(crate) fn next_now(&mut self) -> Option<Delivery> {
        self.consumer.next().now_or_never()??.ok()
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
                // The channel or the connection has ended.
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
        let may_ask = self.may_ask;
        let queue = self.queue.clone();
        let asking = async {
            let channel = link.channel().await?;
            if !may_ask {
                // The new channel has shown that the broker responds.
                channel.close(200, "OK".into()).await?;
                return Ok(None);
            }
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let found = channel.queue_declare(queue, options, FieldTable::default()).await?;
            channel.close(200, "OK".into()).await?;
            Ok(Some(QueueCounts { waiting: found.message_count(), consumers: found.consumer_count() }))
        };
        match link.timed(Step::Check, asking).await {
            Ok(Some(QueueCounts { consumers: 0, .. })) => Err(Fault::Forgotten),
            Ok(counts) => Ok(counts),
            Err(fault) if fault.is_refusal() => {
                self.may_ask = false;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Ends the deliveries. What has been delivered stays here until it is acknowledged.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the broker does not confirm it.
    pub(crate) async fn cancel(&self, link: &Link) -> Result<(), Fault> {
        let cancelling = async {
            Ok(self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?)
        };
        link.timed(Step::Cancel, cancelling).await
    }
}

//! One of the broker's queues: consumes it on one connection after the other.

use std::sync::Arc;
use std::time::Duration;

use fleet_failpoints::Failpoint;
use fleet_queue::QueueError;
use fleet_runtime::settings::Settings;
use lapin::types::ShortString;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bridge_settings::{BridgeSettings, PushLimits};
use crate::consuming::Consuming;
use crate::fault::Fault;
use crate::intake::Intake;
use crate::link::Link;
use crate::metrics::LaneMetrics;
use crate::pace::{Pace, Remains};
use crate::pusher::Pusher;
use crate::shard_watch::ShardWatch;
use crate::starvation::Starvation;
use crate::stream_log::StreamLog;
use crate::subscription::{QueueCounts, Receipt, Subscription};
use crate::window::{Batch, Window};

/// One of the broker's queues, and everything of it that outlives a connection.
pub(crate) struct Lane {
    number: usize,
    queue: ShortString,
    pusher: Pusher,
    limits: PushLimits,
    prefetch: u16,
    check_interval: Duration,
    pace: Pace,
    /// When the next consumer may start, also on another connection.
    not_before: Instant,
    acked: u64,
    /// Whether this consumer may have been sent messages that have not arrived.
    may_have_delivered: bool,
    starvation: Starvation,
    intake: Intake,
    log: StreamLog,
    metrics: LaneMetrics,
    consuming: Arc<Consuming>,
}

impl Lane {
    /// Prepares to consume a queue.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(crate) fn open(
        settings: &Settings,
        bridge: &BridgeSettings,
        (number, queue): (usize, &str),
        consuming: &Arc<Consuming>,
    ) -> Result<(Self, Vec<ShardWatch>), QueueError> {
        let (pusher, watches) = Pusher::open(settings, bridge)?;
        let metrics = LaneMetrics::new(queue, bridge.prefetch);
        let lane = Self {
            number,
            queue: queue.into(),
            pusher,
            limits: bridge.limits,
            prefetch: bridge.prefetch,
            check_interval: bridge.check_interval,
            pace: Pace::new(settings.amqp.retries(), settings.amqp.abort_pauses()),
            not_before: Instant::now(),
            acked: 0,
            may_have_delivered: false,
            starvation: Starvation::default(),
            intake: Intake::new(queue, bridge.max_body_bytes, metrics.clone()),
            log: StreamLog::new(queue.to_owned()),
            metrics,
            consuming: Arc::clone(consuming),
        };
        Ok((lane, watches))
    }

    /// Consumes the queue until the shutdown, and then pushes and acknowledges what has been delivered.
    ///
    /// # Errors
    ///
    /// [`Fault`] if another connection is needed. If only this queue's consumer ends, it is started again here, because another
    /// connection would return the other queues' messages to the broker.
    pub(crate) async fn run(&mut self, link: &Link, shutdown: &CancellationToken) -> Result<(), Fault> {
        loop {
            let pausing = async {
                sleep_until(self.not_before).await;
                self.metrics.abort_pause(Duration::ZERO);
                self.pusher.usable().await;
            };
            tokio::select! {
                () = pausing => {}
                () = shutdown.cancelled() => return Ok(()),
                () = link.down.cancelled() => return Err(Fault::Down),
            }
            let Err(fault) = self.consume(link, shutdown).await else { return Ok(()) };
            if !fault.is_of_one_queue() || !link.responds().await {
                return Err(fault);
            }
        }
    }

    async fn consume(&mut self, link: &Link, shutdown: &CancellationToken) -> Result<(), Fault> {
        self.acked = 0;
        self.may_have_delivered = false;
        self.starvation.started();
        let mut window = Window::new();
        let is_asked = &mut self.may_have_delivered;
        let opened = Subscription::open(link, &self.queue, self.prefetch, is_asked).await;
        let result = match opened {
            Ok(mut subscription) => {
                self.log.started();
                self.consuming.set(self.number, &self.metrics, true);
                let result = self.work(link, &mut subscription, &mut window, shutdown).await;
                self.consuming.set(self.number, &self.metrics, false);
                if result.is_err() && link.is_up() {
                    subscription.abandon(link).await;
                }
                result
            }
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &result {
            self.ended(fault, window.unacked());
        }
        self.metrics.unacked(0);
        result
    }

    fn ended(&mut self, fault: &Fault, unacked: usize) {
        let may_have_delivered = self.may_have_delivered;
        let remains = Remains { acked: self.acked, unacked, may_have_delivered };
        let pause = self.pace.ended(remains);
        self.not_before = Instant::now() + pause.lasts;
        if pause.aborts > 0 {
            self.metrics.abort_pause(pause.lasts);
        }
        self.metrics.stream_ended(fault.reason());
        self.log.ended(fault, remains, pause);
    }

    async fn work(
        &mut self,
        link: &Link,
        subscription: &mut Subscription,
        window: &mut Window<Receipt>,
        shutdown: &CancellationToken,
    ) -> Result<(), Fault> {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.finish(link, subscription, window).await,
                arrived = timeout(self.check_interval, subscription.next()) => match arrived {
                    Ok(delivery) => {
                        self.intake.add(subscription, window, &delivery?);
                        self.starvation.over();
                    }
                    Err(_silent) => {
                        if let Some(counts) = subscription.check(link).await? {
                            self.silent(counts)?;
                        }
                    }
                },
                () = link.down.cancelled() => return Err(Fault::Down),
            }
            self.push_all(link, subscription, window, shutdown).await?;
        }
    }

    /// The broker has answered a question about the queue, which has brought nothing for a while. All that has arrived is
    /// acknowledged.
    fn silent(&mut self, QueueCounts { waiting, consumers: _ }: QueueCounts) -> Result<(), Fault> {
        self.metrics.waiting(waiting);
        if waiting == 0 {
            // What the broker had sent before its answer has arrived: both came on the same connection.
            self.may_have_delivered = false;
        }
        if self.starvation.needs_another_consumer(waiting) { Err(Fault::Starved) } else { Ok(()) }
    }

    /// Pushes and acknowledges what has arrived.
    async fn push_all(
        &mut self,
        link: &Link,
        subscription: &mut Subscription,
        window: &mut Window<Receipt>,
        shutdown: &CancellationToken,
    ) -> Result<(), Fault> {
        loop {
            while let Some(delivery) = subscription.next_now() {
                self.intake.add(subscription, window, &delivery);
            }
            let Some(batch) = window.take(self.limits) else { return Ok(()) };
            let is_early = Failpoint::AckBeforePush.is_active();
            if is_early {
                subscription.ack_up_to(link, &batch.receipt).await?;
            }
            self.push(link, subscription, window, &batch).await?;
            if !is_early {
                subscription.ack_up_to(link, &batch.receipt).await?;
            }
            window.acked();
            self.acked += u64::try_from(batch.items.len()).unwrap_or(u64::MAX);
            self.metrics.acked(batch.items.len());
            self.metrics.unacked(window.unacked());
            if link.down.is_cancelled() {
                // A queue that is busy must not keep the others waiting for the next connection.
                return Err(Fault::Down);
            }
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Pushes a batch until Redis has it. Meanwhile takes what arrives, so that the end of the consumer is noticed.
    async fn push(
        &mut self,
        link: &Link,
        subscription: &mut Subscription,
        window: &mut Window<Receipt>,
        batch: &Batch<Receipt>,
    ) -> Result<(), Fault> {
        let stop = CancellationToken::new();
        let intake = &mut self.intake;
        let mut fault = None;
        let pushing = self.pusher.push(&batch.items, batch.bytes, &stop);
        tokio::pin!(pushing);
        let is_stored = loop {
            tokio::select! {
                biased;
                is_stored = &mut pushing => break is_stored,
                arrived = subscription.next(), if fault.is_none() => match arrived {
                    Ok(delivery) => intake.add(subscription, window, &delivery),
                    Err(ended) => {
                        // The broker delivers the batch again, so this attempt is the last one.
                        stop.cancel();
                        fault = Some(ended);
                    }
                },
                () = link.down.cancelled(), if !stop.is_cancelled() => stop.cancel(),
            }
        };
        if is_stored {
            self.metrics.pushed(batch.items.len());
        }
        match fault {
            Some(fault) => Err(fault),
            None if is_stored => Ok(()),
            None => Err(Fault::Down),
        }
    }

    /// Ends the deliveries, and pushes and acknowledges those that are here. The caller bounds the time.
    async fn finish(
        &mut self,
        link: &Link,
        subscription: &mut Subscription,
        window: &mut Window<Receipt>,
    ) -> Result<(), Fault> {
        subscription.cancel(link).await?;
        let go_on = CancellationToken::new();
        self.push_all(link, subscription, window, &go_on).await?;
        subscription.close(link).await
    }
}

//! A batch that belongs to this consumer: what it tells Redis about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Consumer, Lease, Mark, QueueError};
use fleet_runtime::settings::ConsumerSettings;
use tokio_util::task::AbortOnDropHandle;

use crate::lease::redis_calls::RedisCalls;
use crate::metrics;
use crate::metrics::leases::Heartbeat;

/// How long a batch that was set aside waits until it is tried again.
const PARKED_FOR: Duration = Duration::from_secs(1);

/// How long a batch that could not be judged waits until it is taken over and tried again.
const POSTPONED_FOR: Duration = Duration::from_secs(60);

/// How the work on a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Settled,
    Lost,
    Released,
    Parked,
    Undecided,
}

/// A batch under this consumer's lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLease<'a> {
    pub(crate) queue: &'static str,
    pub(crate) lease: &'a Lease,
    pub(crate) consumer: &'a Consumer,
    pub(crate) settings: &'a ConsumerSettings,
    pub(crate) calls: &'a Arc<RedisCalls>,
}

impl HeldLease<'_> {
    /// Starts the heartbeat, which ends once another consumer has the batch.
    pub(crate) fn heartbeat(&self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(keep(
            self.queue,
            Arc::clone(self.calls),
            self.consumer.clone(),
            self.lease.without_items(),
            self.settings.lease,
            self.settings.heartbeat,
        )))
    }

    /// Notes what the consumer is about to do. `false`: the batch is another consumer's by now.
    pub(crate) async fn mark(&self, mark: Mark) -> bool {
        self.retry(|| self.consumer.mark(self.lease, mark)).await.unwrap_or(false)
    }

    /// Forgets the batch, which is stored.
    pub(crate) async fn ack(&self) -> Ended {
        // After a lost reply the second ack finds nothing to settle: that is no loss either.
        let acked = self.retry(|| self.consumer.ack(self.lease)).await;
        if acked.is_some_and(|messages| messages > 0) { Ended::Settled } else { Ended::Lost }
    }

    /// Sets the batch aside, as one database has its part and the other one takes nothing.
    pub(crate) async fn park(&self) -> Ended {
        let parked = self.retry(|| self.consumer.park(self.lease, PARKED_FOR)).await;
        if parked == Some(true) { Ended::Parked } else { Ended::Lost }
    }

    /// Leaves the batch alone for a while, after which the next consumer takes it over. Nobody has died of it this time.
    pub(crate) async fn postpone(&self) -> Ended {
        let is_ours = self.mark(Mark::Clear).await
            && self.retry(|| self.consumer.extend(self.lease, POSTPONED_FOR)).await == Some(true);
        if is_ours { Ended::Undecided } else { Ended::Lost }
    }

    /// Gives the batch up for the next consumer.
    pub(crate) async fn release(&self) -> Ended {
        let released = self.consumer.release(self.lease).await;
        self.calls.note(&released);
        if let Err(error) = released {
            tracing::warn!(
                lease_id = %self.lease.id,
                %error,
                "could not release a batch: another consumer takes it over when its lease runs out"
            );
        }
        Ended::Released
    }

    /// Repeats a call to Redis until it is answered. `None`: something else has written to a key that the call needs, and has
    /// not been repaired within a lease's time. Whoever takes the batch over then goes on.
    async fn retry<T, Call: Future<Output = Result<T, QueueError>>>(
        &self,
        call: impl Fn() -> Call,
    ) -> Option<T> {
        let (mut pause, mut broken_since) = (self.settings.retry_min, None);
        loop {
            let result = call().await;
            self.calls.note(&result);
            match result {
                Ok(value) => return Some(value),
                Err(error) if error.is_broken_key() => {
                    if broken_since.get_or_insert_with(Instant::now).elapsed() >= self.settings.lease {
                        return None;
                    }
                }
                Err(_noted) => broken_since = None,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.retry_max);
        }
    }
}

async fn keep(
    queue: &'static str,
    calls: Arc<RedisCalls>,
    consumer: Consumer,
    lease: Lease,
    duration: Duration,
    heartbeat: Duration,
) {
    let mut interval = tokio::time::interval(heartbeat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The claim itself was the first heartbeat.
    interval.tick().await;
    loop {
        interval.tick().await;
        let extended = consumer.extend(&lease, duration).await;
        calls.note(&extended);
        match extended {
            Ok(true) => metrics::leases::heartbeat(queue, Heartbeat::Extended),
            Ok(false) => return metrics::leases::heartbeat(queue, Heartbeat::Lost),
            Err(_noted) => metrics::leases::heartbeat(queue, Heartbeat::Failed),
        }
    }
}

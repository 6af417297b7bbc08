//! The lease that this consumer holds on a batch: heartbeat, mark, ack, park, release.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Consumer, Lease, Mark, Queue, QueueError};
use fleet_runtime::settings::ConsumerSettings;
use tokio_util::task::AbortOnDropHandle;

use crate::lease::redis_calls::RedisCalls;
use crate::metrics;
use crate::metrics::leases::Heartbeat;

/// How long a parked batch waits until it is resumed.
const PARKED_FOR: Duration = Duration::from_secs(1);

/// How long a batch waits for its next owner if it could not be found out whether one of its messages crashes the parser.
const POSTPONED_FOR: Duration = Duration::from_secs(60);

/// How the work on a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Stored and acknowledged.
    Settled,
    /// Another consumer has taken the lease over.
    Lost,
    /// Given up for another consumer.
    Released,
    /// Stored in one database, and set aside until the other one recovers.
    Parked,
    /// Given up for a while, because it could not be found out whether one of its messages crashes the parser.
    Undecided,
}

/// A lease that this consumer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLease<'a> {
    pub(crate) queue: Queue,
    pub(crate) lease: &'a Lease,
    pub(crate) consumer: &'a Consumer,
    pub(crate) settings: &'a ConsumerSettings,
    pub(crate) calls: &'a Arc<RedisCalls>,
}

impl HeldLease<'_> {
    /// Starts the heartbeat. Its task ends when another consumer has taken the lease over. Dropping the handle stops it.
    pub(crate) fn heartbeat(&self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(send_heartbeats(
            self.queue.provider(),
            Arc::clone(self.calls),
            self.consumer.clone(),
            self.lease.without_items(),
            self.settings.lease,
            self.settings.heartbeat,
        )))
    }

    /// Sets or clears the batch's mark. Returns `false` if another consumer owns the batch by now.
    pub(crate) async fn mark(&self, mark: Mark) -> bool {
        self.retry(|| self.consumer.mark(self.lease, mark)).await.unwrap_or(false)
    }

    /// Acknowledges the batch, which is stored: Redis deletes it.
    pub(crate) async fn ack(&self) -> Ended {
        // If the reply to an ack is lost, the retry finds nothing to settle. The batch is settled all the same.
        let acked = self.retry(|| self.consumer.ack(self.lease)).await;
        if acked.is_some_and(|messages| messages > 0) { Ended::Settled } else { Ended::Lost }
    }

    /// Parks the batch: one database has its part, and the other one is down.
    pub(crate) async fn park(&self) -> Ended {
        let parked = self.retry(|| self.consumer.park(self.lease, PARKED_FOR)).await;
        if parked == Some(true) { Ended::Parked } else { Ended::Lost }
    }

    /// Keeps the lease for a while without a heartbeat. After that, any consumer takes the batch over. The mark is cleared
    /// first, because no consumer died this time.
    pub(crate) async fn postpone(&self) -> Ended {
        let is_ours = self.mark(Mark::Clear).await
            && self.retry(|| self.consumer.extend(self.lease, POSTPONED_FOR)).await == Some(true);
        if is_ours { Ended::Undecided } else { Ended::Lost }
    }

    /// Gives the lease up, so that another consumer can take the batch over at once.
    pub(crate) async fn release(&self) -> Ended {
        let released = self.consumer.release(self.lease).await;
        self.calls.note(&released);
        if let Err(error) = released {
            tracing::warn!(
                lease_id = %self.lease.id,
                %error,
                "could not release a batch: another consumer takes it over when its lease expires"
            );
        }
        Ended::Released
    }

    /// Retries a call to Redis until it succeeds. Returns `None` if another program overwrote a key that the call needs, and
    /// nobody repaired it for as long as a lease lasts. The consumer that takes the batch over tries again.
    async fn retry<T, Call: Future<Output = Result<T, QueueError>>>(
        &self,
        call: impl Fn() -> Call,
    ) -> Option<T> {
        let (mut backoff, mut broken_since) = (self.settings.retries().start(), None);
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
                Err(_logged) => broken_since = None,
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }
}

async fn send_heartbeats(
    provider: &'static str,
    calls: Arc<RedisCalls>,
    consumer: Consumer,
    lease: Lease,
    duration: Duration,
    heartbeat: Duration,
) {
    let mut interval = tokio::time::interval(heartbeat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once. The claim itself was the first heartbeat.
    interval.tick().await;
    loop {
        interval.tick().await;
        let extended = consumer.extend(&lease, duration).await;
        calls.note(&extended);
        match extended {
            Ok(true) => metrics::leases::heartbeat(provider, Heartbeat::Extended),
            Ok(false) => return metrics::leases::heartbeat(provider, Heartbeat::Lost),
            Err(_logged) => metrics::leases::heartbeat(provider, Heartbeat::Failed),
        }
    }
}

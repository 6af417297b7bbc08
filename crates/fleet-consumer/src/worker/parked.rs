//! The loop that resumes the parked batches of one queue.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Consumer, Lease, Queue, QueueError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::WorkerError;
use crate::lease::held_lease::Ended;
use crate::lease::obtained::{Obtained, Origin};
use crate::lease::redis_calls::RedisCalls;
use crate::worker::processor::BatchProcessor;

/// How often the loop looks for a parked batch, unless it has just settled one.
const PARKED_EVERY: Duration = Duration::from_secs(1);

/// How often the loop looks for batches that have an owner and no expiry.
const RECLAIM_EVERY: Duration = Duration::from_secs(60);

/// Resumes parked batches: those that one database has and the other one could not take.
#[derive(Debug)]
pub(crate) struct ParkedWorker {
    pub(crate) queue: Queue,
    pub(crate) consumer: Consumer,
    pub(crate) calls: Arc<RedisCalls>,
    pub(crate) processor: Arc<BatchProcessor>,
    /// How long a lease lasts.
    pub(crate) lease: Duration,
    /// Pause after a failed call to Redis.
    pub(crate) retry_max: Duration,
}

impl ParkedWorker {
    /// Resumes parked batches one after the other, until `shutdown`. While a database is down, a parked batch is what probes
    /// it. This loop waits for the probe, and the other loops go on.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if a retry cannot help.
    pub(crate) async fn run(
        &self,
        shutdown: &CancellationToken,
        deadline: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let (mut pause, mut unanswered) = (Duration::ZERO, None);
        let mut reclaiming = tokio::time::interval(RECLAIM_EVERY);
        reclaiming.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _tick = reclaiming.tick() => self.reclaim().await,
                () = tokio::time::sleep(pause) => {}
            }
            let due = self.next_due(&mut unanswered).await;
            self.calls.note(&due);
            pause = match due {
                Ok(Some(lease)) => self.resume(lease, deadline).await?,
                Ok(None) => PARKED_EVERY,
                Err(_logged) => self.retry_max,
            };
        }
    }

    /// The pause after it.
    async fn resume(&self, lease: Lease, deadline: &CancellationToken) -> Result<Duration, WorkerError> {
        let obtained = Obtained { lease, origin: Origin::Resumed, large: None };
        Ok(match self.processor.process(obtained, deadline).await? {
            Ended::Parked => PARKED_EVERY,
            Ended::Settled | Ended::Lost | Ended::Released | Ended::Undecided => Duration::ZERO,
        })
    }

    /// Takes a batch over. If there is no reply, or no confirmation by replicas, `unanswered` keeps its id and the token, and
    /// the next call repeats the takeover: an expired lease would count as the death of a consumer over this batch.
    async fn next_due(&self, unanswered: &mut Option<(Uuid, Uuid)>) -> Result<Option<Lease>, QueueError> {
        let (id, token) = match *unanswered {
            Some(call) => call,
            None => match self.consumer.due().await?.parked {
                Some(id) => (id, Uuid::now_v7()),
                None => return Ok(None),
            },
        };
        let taken = self.consumer.take_over_lease(id, token, self.lease).await;
        let is_repeated = taken.as_ref().is_err_and(|error| !error.is_unusable_batch());
        *unanswered = is_repeated.then_some((id, token));
        taken
    }

    /// Gives an expiry to batches that have none, because no consumer would ever take them over.
    async fn reclaim(&self) {
        match self.consumer.reclaim().await {
            Ok(None) => tracing::debug!("this user may not look for batches without an expiry (HKEYS, HLEN)"),
            Ok(Some(0)) => {}
            Ok(Some(found)) => tracing::warn!(
                queue = %self.queue,
                found,
                "found batches without an expiry, as a repair of Redis' file leaves them: taking them over"
            ),
            Err(error) => tracing::debug!(%error, "could not look for batches without an expiry"),
        }
    }
}

//! One batch, from its claim to its acknowledgement.

use std::sync::Arc;

use fleet_failpoints::Failpoint;
use fleet_queue::{Consumer, Queue};
use fleet_runtime::settings::ConsumerSettings;
use tokio_util::sync::CancellationToken;

use crate::error::WorkerError;
use crate::lease::held_lease::{Ended, HeldLease};
use crate::lease::lease_log::{log_ended, log_obtained};
use crate::lease::obtained::{Obtained, Origin};
use crate::lease::redis_calls::RedisCalls;
use crate::worker::pipeline::{Pipeline, Progress};

/// Stores batches of one queue under their leases.
#[derive(Debug)]
pub(crate) struct BatchProcessor {
    pub(crate) queue: Queue,
    pub(crate) consumer: Consumer,
    pub(crate) settings: ConsumerSettings,
    pub(crate) calls: Arc<RedisCalls>,
    /// The provider's queues share it.
    pub(crate) pipeline: Arc<Pipeline>,
}

impl BatchProcessor {
    /// Stores and acknowledges a batch, while a heartbeat extends its lease. A batch that is not stored at `deadline` is
    /// released.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Store`] if a retry cannot help. The batch stays leased.
    pub(crate) async fn process(
        &self,
        obtained: Obtained,
        deadline: &CancellationToken,
    ) -> Result<Ended, WorkerError> {
        let Self { queue, consumer, settings, calls, pipeline } = self;
        let Obtained { lease, origin, large } = &obtained;
        let queue = *queue;
        log_obtained(queue, &obtained);
        let held = HeldLease { queue, lease, consumer, settings, calls };
        let mut heartbeat = held.heartbeat();
        if *origin == Origin::TakenOver && Failpoint::DropLease.is_active() {
            return Ok(held.ack().await);
        }
        let progress = tokio::select! {
            progress = pipeline.store(held, *origin, large.is_some()) => {
                Some(progress.map_err(|source| WorkerError::Store { provider: queue.provider(), source })?)
            }
            ended = &mut heartbeat => match ended {
                Ok(()) => Some(Progress::Lost),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            () = deadline.cancelled() => None,
        };
        // Stop the heartbeat first. After an ack it would find the lease gone and count it as lost; after a release it would
        // extend the lease.
        drop(heartbeat);
        let ended = tokio::select! {
            biased;
            ended = leave(held, progress) => ended,
            () = deadline.cancelled(), if progress.is_some() => held.release().await,
        };
        log_ended(queue, lease, ended);
        Ok(ended)
    }
}

async fn leave(held: HeldLease<'_>, progress: Option<Progress>) -> Ended {
    match progress {
        Some(Progress::Both) => held.ack().await,
        Some(Progress::One) => held.park().await,
        Some(Progress::Undecided) => held.postpone().await,
        Some(Progress::Lost) => Ended::Lost,
        None => held.release().await,
    }
}

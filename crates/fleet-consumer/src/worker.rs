//! The loop that claims batches of one queue.

pub(crate) mod parked;
pub(crate) mod pipeline;
pub(crate) mod processor;

use std::sync::Arc;

use fleet_queue::QueueError;
use fleet_runtime::liveness::idle;
use fleet_runtime::retry::RetryPauses;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::WorkerError;
use crate::lease::obtained::Obtained;
use crate::lease::poller::Poller;
use crate::worker::processor::BatchProcessor;

/// Claims and settles batches of one queue. `batches_in_flight` loops share it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) poller: Mutex<Poller>,
    pub(crate) processor: Arc<BatchProcessor>,
    /// The pauses after failed calls to Redis.
    pub(crate) retries: RetryPauses,
}

impl Worker {
    /// Claims and settles batches until `shutdown`. A batch in progress has until `deadline`, and is released then.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if a retry cannot help.
    pub(crate) async fn run(
        &self,
        shutdown: &CancellationToken,
        deadline: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut backoff = self.retries.start();
        loop {
            let obtained = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.finish(deadline).await,
                obtained = self.next() => obtained,
            };
            match obtained {
                Ok(obtained) => {
                    backoff.reset();
                    self.processor.process(obtained, deadline).await?;
                }
                Err(error) if error.is_permanent() => return Err(WorkerError::Queue(error)),
                Err(_logged) => {
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_pause()) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn next(&self) -> Result<Obtained, QueueError> {
        // Another loop of this worker may poll an empty queue for hours.
        idle(self.poller.lock()).await.next().await
    }

    /// Settles the batch of a claim that the shutdown interrupted. Without this, it would stay leased until another consumer
    /// takes it over.
    async fn finish(&self, deadline: &CancellationToken) -> Result<(), WorkerError> {
        let last = self.poller.lock().await.last().await;
        match last {
            Ok(Some(obtained)) => self.processor.process(obtained, deadline).await.map(|_ended| ()),
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

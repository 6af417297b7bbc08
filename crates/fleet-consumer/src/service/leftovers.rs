//! Works on queues that the settings do not name, for as long as they have messages: those of a larger number of shards from
//! before, and those that an API with another number of shards fills.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_queue::Queue;
use fleet_runtime::liveness::Liveness;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::ConsumerError;
use crate::service::workers::WorkersOfQueues;

/// Starts and stops the workers of such queues.
pub(super) struct Leftovers {
    pub(super) workers: WorkersOfQueues,
    /// Those that have messages.
    pub(super) busy: watch::Receiver<BTreeSet<Queue>>,
    pub(super) liveness: Liveness,
    pub(super) longest_wait: Duration,
}

impl Leftovers {
    /// Runs until `shutdown`, and then until the batches in progress have ended.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] of a worker.
    pub(super) async fn run(
        mut self,
        shutdown: CancellationToken,
        deadline: CancellationToken,
    ) -> Result<(), ConsumerError> {
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Queue, CancellationToken> = BTreeMap::new();
        let mut result = Ok(());
        while result.is_ok() {
            let busy = self.busy.borrow_and_update().clone();
            running.retain(|queue, stop| {
                let stays = busy.contains(queue);
                if !stays {
                    tracing::info!(%queue, "a queue that the settings do not name is empty: leaving it");
                    stop.cancel();
                }
                stays
            });
            for queue in busy {
                if let Entry::Vacant(vacant) = running.entry(queue) {
                    let stop = vacant.insert(shutdown.child_token());
                    result = result.and(self.start(queue, &mut tasks, stop, &deadline));
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = self.busy.changed() => if changed.is_err() {
                    // The observer has ended, so the process ends, too.
                    shutdown.cancelled().await;
                    break;
                },
                Some(ended) = tasks.join_next() => result = result.and(flatten(ended)),
            }
        }
        running.values().for_each(CancellationToken::cancel);
        while let Some(ended) = tasks.join_next().await {
            result = result.and(flatten(ended));
        }
        result
    }

    fn start(
        &self,
        queue: Queue,
        tasks: &mut JoinSet<Result<(), ConsumerError>>,
        stop: &CancellationToken,
        deadline: &CancellationToken,
    ) -> Result<(), ConsumerError> {
        let provider = queue.provider();
        tracing::warn!(
            %queue,
            provider,
            shards = self.workers.shards(provider),
            "a queue that the settings do not name has messages: working on it until it is empty. If the number of shards is \
             not being changed, give the APIs and the consumers the same one: see the runbook, FleetQueueUnconfigured"
        );
        self.workers.open(queue)?.spawn(tasks, &self.liveness, self.longest_wait, stop, deadline);
        Ok(())
    }
}

fn flatten(ended: Result<Result<(), ConsumerError>, tokio::task::JoinError>) -> Result<(), ConsumerError> {
    ended.unwrap_or_else(|_panicked| Err(ConsumerError::Panic))
}

//! One push for all webhooks that arrived during the previous push.
//!
//! Each queue has one task that does its pushes. The task waits for no timer: when idle it pushes a lone message after a
//! look at the sockets, and when busy it finds the next batch complete. A burst of one provider fills only that provider's
//! batches. After a large push the task leaves the other providers their [`Share`] of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_failpoints::Failpoint;
use fleet_queue::{Envelope, Producer, ShardHealth, ShardHealthRecord, ShardState};

use self::cap::Cap;
use self::committer::Committer;
pub(crate) use self::limits::CommitLimits;
use self::replica_wait::ReplicaWait;
pub(crate) use self::share::{Share, Shares};
use self::waiting::Waiting;
use crate::metrics::{CommitMetrics, Shed, ShedMetrics};
use crate::outcome::Outcome;
use crate::permits::Permits;

mod cap;
mod committer;
mod limits;
mod push_log;
mod replica_log;
mod replica_wait;
mod share;
mod waiting;

/// Hands messages to one queue's committer.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    waiting: Arc<Waiting>,
    shedding: Arc<AtomicBool>,
    health: ShardHealth,
    shed: ShedMetrics,
}

impl GroupCommit {
    /// The handle, and the committer's future: it ends after the handle is dropped and every message has its outcome.
    pub(crate) fn new(
        producer: Producer,
        limits: CommitLimits,
        share: Share,
        metrics: CommitMetrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let waiting = Arc::new(Waiting::new(producer.clone(), limits));
        let shedding = Arc::new(AtomicBool::new(false));
        let shed = metrics.shed.clone();
        let cap = Cap::new(limits.max_backlog_bytes, Arc::clone(&shedding), metrics.clone());
        let replicas = limits.replica_patience.map(|patience| {
            ReplicaWait::new(producer.clone(), Arc::clone(&waiting), metrics.clone(), patience)
        });
        let health = ShardHealth::default();
        let record = ShardHealthRecord::new(health.clone());
        let committer = Committer::new(producer, cap, share, metrics, Arc::clone(&waiting), replicas, record);
        (Self { waiting, shedding, health, shed }, committer.run())
    }

    /// Whether the queue accepts no webhooks because its backlog is above its part of the provider's cap.
    pub(crate) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Acquire)
    }

    /// Whether the caller's webhook is the one that may try this queue after a failed push.
    pub(crate) fn take_trial(&self) -> bool {
        self.health.take_trial()
    }

    /// Whether the queue accepts a webhook now.
    pub(crate) fn state(&self) -> ShardState {
        if self.is_shedding() {
            return ShardState::Shedding;
        }
        if !self.health.is_working() {
            return ShardState::Failing;
        }
        self.waiting.room().map_or(ShardState::Full, |waiting| ShardState::Working { waiting })
    }

    /// Puts one message into the next push. The future waits for the push's outcome, which is [`Outcome::Accepted`] only
    /// after Redis has replied and the replicas that must confirm the push have done so.
    pub(crate) fn push(
        &self,
        envelope: &Envelope<'_>,
        permits: Permits,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let added = self.waiting.add(envelope, permits);
        if added.is_none() {
            self.shed.count(Shed::CommitQueueFull);
        }
        async move {
            match added {
                None => Outcome::Busy,
                Some(_outcome) if Failpoint::PushUnconfirmed.is_active() => Outcome::Accepted,
                Some(outcome) => *outcome.wait().await,
            }
        }
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

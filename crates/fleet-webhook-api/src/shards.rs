//! Spreads one provider's webhooks over its queues. Their order does not matter, so any of them will do.

use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_queue::{Envelope, choose_shard};

use crate::group_commit::GroupCommit;
use crate::outcome::Outcome;
use crate::permits::Permits;

/// One provider's queues: its only one, or its shards.
#[derive(Debug)]
pub(crate) struct Shards {
    queues: Box<[GroupCommit]>,
    /// Counts webhooks. Each begins its search for a queue at the next one.
    turn: AtomicUsize,
}

impl Shards {
    /// The queues must not be empty.
    pub(crate) fn new(queues: Vec<GroupCommit>) -> Self {
        Self { queues: queues.into(), turn: AtomicUsize::new(0) }
    }

    /// Whether webhooks are refused because every queue is above its part of the provider's cap.
    pub(crate) fn is_shedding(&self) -> bool {
        self.queues.iter().all(GroupCommit::is_shedding)
    }

    /// Puts one message into the next push of one queue: see [`GroupCommit::push`].
    pub(crate) fn push(
        &self,
        envelope: &Envelope<'_>,
        permits: Permits,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        self.choose().push(envelope, permits)
    }

    fn choose(&self) -> &GroupCommit {
        let queues = &self.queues;
        if let [only] = &**queues {
            return only;
        }
        // One webhook finds out whether a queue accepts pushes again.
        if let Some(trial) = queues.iter().find(|queue| queue.take_trial()) {
            return trial;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &queues[choose_shard(queues.len(), turn, |index| queues[index].state())]
    }
}

//! Spreads one provider's webhooks over its queues. Their order does not matter, so any of them will do.

use std::sync::atomic::{AtomicUsize, Ordering};

use fleet_queue::Envelope;

use crate::group_commit::{GroupCommit, QueueState};
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
        &queues[choose(queues.len(), turn, |index| queues[index].state())]
    }
}

/// The index of the queue that gets a webhook. Of the next two that work, it is the one with fewer waiting messages: while a
/// server does not reply, its queue gets hardly any more. If none works, the next one below its cap is tried.
fn choose(queues: usize, turn: usize, state: impl Fn(usize) -> QueueState) -> usize {
    let in_turn = || (0..queues).map(|ahead| (turn % queues + ahead) % queues);
    let working = in_turn().filter_map(|index| match state(index) {
        QueueState::Working { waiting } => Some((waiting, index)),
        QueueState::Full | QueueState::Failing | QueueState::Shedding => None,
    });
    if let Some((_waiting, index)) = working.take(2).min_by_key(|(waiting, _index)| *waiting) {
        return index;
    }
    in_turn().find(|index| state(*index) != QueueState::Shedding).unwrap_or(turn % queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: QueueState = QueueState::Working { waiting: 0 };
    const BUSY: QueueState = QueueState::Working { waiting: 3 };

    /// The indexes of the queues that webhooks get.
    fn chosen(queues: &[QueueState], webhooks: usize) -> Vec<usize> {
        (0..webhooks).map(|turn| choose(queues.len(), turn, |index| queues[index])).collect()
    }

    #[test]
    fn equal_queues_take_turns() {
        assert_eq!(chosen(&[IDLE, IDLE, IDLE], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(choose(3, usize::MAX, |_index| IDLE), usize::MAX % 3, "the counter wraps");
    }

    #[test]
    fn a_queue_with_more_waiting_messages_is_passed_over() {
        assert_eq!(chosen(&[IDLE, BUSY, IDLE], 6), [0, 2, 2, 0, 2, 2]);
    }

    #[test]
    fn queues_that_fail_are_full_or_above_their_cap_get_nothing_while_another_works() {
        let queues = [QueueState::Failing, QueueState::Shedding, BUSY, QueueState::Full];
        assert_eq!(chosen(&queues, 4), [2, 2, 2, 2]);
    }

    #[test]
    fn if_none_works_every_queue_below_its_cap_is_tried() {
        let queues = [QueueState::Failing, QueueState::Shedding, QueueState::Failing];
        assert_eq!(chosen(&queues, 3), [0, 2, 2]);
        assert_eq!(chosen(&[QueueState::Shedding, QueueState::Shedding], 3), [0, 1, 0]);
    }
}

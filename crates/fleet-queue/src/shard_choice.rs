//! Which of a provider's queues gets a message. Their order does not matter, so any of them will do.

/// Whether a queue accepts a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardState {
    /// So many messages wait for the next push.
    Working {
        /// How many.
        waiting: usize,
    },
    /// No more messages may wait for the next push.
    Full,
    /// The last push failed, or replicas have not confirmed it yet.
    Failing,
    /// The backlog is above its cap.
    Shedding,
}

/// The index of the queue that gets a message. Of the next two that work, it is the one with fewer waiting messages: while a
/// server does not reply, its queue gets hardly any more. If none works, the next one below its cap is tried.
pub fn choose_shard(queues: usize, turn: usize, state: impl Fn(usize) -> ShardState) -> usize {
    let in_turn = || (0..queues).map(|ahead| (turn % queues + ahead) % queues);
    let working = in_turn().filter_map(|index| match state(index) {
        ShardState::Working { waiting } => Some((waiting, index)),
        ShardState::Full | ShardState::Failing | ShardState::Shedding => None,
    });
    if let Some((_waiting, index)) = working.take(2).min_by_key(|(waiting, _index)| *waiting) {
        return index;
    }
    in_turn().find(|index| state(*index) != ShardState::Shedding).unwrap_or(turn % queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: ShardState = ShardState::Working { waiting: 0 };
    const BUSY: ShardState = ShardState::Working { waiting: 3 };

    /// The indexes of the queues that messages get.
    fn chosen(queues: &[ShardState], messages: usize) -> Vec<usize> {
        (0..messages).map(|turn| choose_shard(queues.len(), turn, |index| queues[index])).collect()
    }

    #[test]
    fn equal_queues_take_turns() {
        assert_eq!(chosen(&[IDLE, IDLE, IDLE], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(choose_shard(3, usize::MAX, |_index| IDLE), usize::MAX % 3, "the counter wraps");
    }

    #[test]
    fn a_queue_with_more_waiting_messages_is_passed_over() {
        assert_eq!(chosen(&[IDLE, BUSY, IDLE], 6), [0, 2, 2, 0, 2, 2]);
    }

    #[test]
    fn queues_that_fail_are_full_or_above_their_cap_get_nothing_while_another_works() {
        let queues = [ShardState::Failing, ShardState::Shedding, BUSY, ShardState::Full];
        assert_eq!(chosen(&queues, 4), [2, 2, 2, 2]);
    }

    #[test]
    fn if_none_works_every_queue_below_its_cap_is_tried() {
        let queues = [ShardState::Failing, ShardState::Shedding, ShardState::Failing];
        assert_eq!(chosen(&queues, 3), [0, 2, 2]);
        assert_eq!(chosen(&[ShardState::Shedding, ShardState::Shedding], 3), [0, 1, 0]);
    }
}

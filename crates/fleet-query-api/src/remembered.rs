//! The latest changes, for streams that are behind or come back.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;

use crate::fleet::Change;

/// What one read of the table has changed.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Counted from 1, without gaps.
    pub(crate) number: u64,
    /// When the table was read.
    pub(crate) as_of: Timestamp,
    /// Each vehicle at most once.
    pub(crate) changes: Vec<TickChange>,
}

/// A change, and what streams write about it. All streams share one text.
#[derive(Debug)]
pub(crate) struct TickChange {
    pub(crate) change: Change,
    pub(crate) event: OnceLock<Bytes>,
}

/// The latest ticks, bounded by the number of their changes.
#[derive(Debug)]
pub(crate) struct Remembered {
    ticks: VecDeque<Arc<Tick>>,
    changes: usize,
    max_changes: usize,
    /// The number of the last tick.
    last: u64,
}

/// What follows a tick.
#[derive(Debug)]
pub(crate) enum Next {
    /// This one.
    Tick(Arc<Tick>),
    /// Nothing yet.
    Nothing,
    /// Something that has been forgotten.
    Forgotten,
}

impl Remembered {
    pub(crate) fn new(max_changes: usize) -> Self {
        Self { ticks: VecDeque::new(), changes: 0, max_changes, last: 0 }
    }

    /// The number of the last tick.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Adds a tick, and forgets the oldest ones if there are too many changes.
    pub(crate) fn push(&mut self, changes: Vec<Change>, as_of: Timestamp) {
        self.last += 1;
        self.changes += changes.len();
        let changes =
            changes.into_iter().map(|change| TickChange { change, event: OnceLock::new() }).collect();
        self.ticks.push_back(Arc::new(Tick { number: self.last, as_of, changes }));
        while self.changes > self.max_changes {
            let Some(oldest) = self.ticks.pop_front() else { return };
            self.changes -= oldest.changes.len();
        }
    }

    /// The tick behind the one with this number.
    pub(crate) fn next(&self, number: u64) -> Next {
        if number == self.last {
            return Next::Nothing;
        }
        let Some(first) = self.ticks.front().map(|first| first.number) else { return Next::Forgotten };
        // A number from the future is not one of this process.
        let index = number
            .checked_add(1)
            .and_then(|next| next.checked_sub(first))
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| self.ticks.get(index))
            .map_or(Next::Forgotten, |tick| Next::Tick(Arc::clone(tick)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::fleet::slots::Slot;

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let mut remembered = Remembered::new(5);
        let change = Change { vehicle_id: Uuid::nil(), slot: Slot::default(), before: None, after: None };
        let push = |remembered: &mut Remembered, changes| {
            remembered.push(vec![change.clone(); changes], Timestamp::UNIX_EPOCH);
        };
        assert!(matches!(remembered.next(0), Next::Nothing));
        push(&mut remembered, 2);
        push(&mut remembered, 3);
        assert!(matches!(remembered.next(0), Next::Tick(tick) if tick.number == 1));
        push(&mut remembered, 1);
        assert!(matches!(remembered.next(0), Next::Forgotten));
        assert!(matches!(remembered.next(1), Next::Tick(tick) if tick.number == 2));
        assert!(matches!(remembered.next(2), Next::Tick(tick) if tick.number == 3));
        assert!(matches!(remembered.next(3), Next::Nothing));
        assert!(matches!(remembered.next(4), Next::Forgotten));
        assert!(matches!(remembered.next(u64::MAX - 1), Next::Forgotten));
        push(&mut remembered, 6);
        assert!(matches!(remembered.next(3), Next::Forgotten), "one tick is more than all that may be kept");
        assert!(matches!(remembered.next(4), Next::Nothing));
    }
}

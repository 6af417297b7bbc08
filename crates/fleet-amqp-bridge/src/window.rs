//! The messages that were delivered and not acknowledged, in the broker's order.

use std::collections::VecDeque;

use crate::bridge_settings::PushLimits;

/// The window of one consumer. `Receipt` acknowledges a message and all before it.
#[derive(Debug)]
pub(crate) struct Window<Receipt> {
    waiting: VecDeque<Held<Receipt>>,
    /// Messages of the batch that is being pushed.
    taken: usize,
}

#[derive(Debug)]
struct Held<Receipt> {
    item: Vec<u8>,
    receipt: Receipt,
}

/// Messages to push together. They are consecutive, so one ack covers them.
#[derive(Debug)]
pub(crate) struct Batch<Receipt> {
    pub(crate) items: Vec<Vec<u8>>,
    pub(crate) bytes: usize,
    /// That of the last message.
    pub(crate) receipt: Receipt,
}

impl<Receipt> Window<Receipt> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), taken: 0 }
    }

    /// Adds the message that was delivered last.
    pub(crate) fn add(&mut self, item: Vec<u8>, receipt: Receipt) {
        self.waiting.push_back(Held { item, receipt });
    }

    /// Messages that are not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.waiting.len() + self.taken
    }

    /// The messages that have waited longest, within the limits of a push. They stay unacknowledged. Take the next batch only
    /// after this one was acknowledged.
    pub(crate) fn take(&mut self, limits: PushLimits) -> Option<Batch<Receipt>> {
        let first = self.waiting.pop_front()?;
        let mut batch = Batch { bytes: first.item.len(), items: vec![first.item], receipt: first.receipt };
        while let Some(next) = self.waiting.front() {
            let fits = batch.bytes + next.item.len() <= limits.max_bytes;
            if batch.items.len() >= limits.max_messages || !fits {
                break;
            }
            let Some(next) = self.waiting.pop_front() else { break };
            batch.bytes += next.item.len();
            batch.items.push(next.item);
            batch.receipt = next.receipt;
        }
        self.taken = batch.items.len();
        Some(batch)
    }

    /// The batch that was taken last is acknowledged.
    pub(crate) fn acked(&mut self) {
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(sizes: &[usize]) -> Window<u64> {
        let mut window = Window::new();
        for (size, tag) in sizes.iter().zip(1..) {
            window.add(vec![0; *size], tag);
        }
        window
    }

    fn taken(window: &mut Window<u64>, limits: PushLimits) -> Vec<(usize, u64)> {
        let mut taken = Vec::new();
        while let Some(batch) = window.take(limits) {
            taken.push((batch.items.len(), batch.receipt));
            window.acked();
        }
        taken
    }

    #[test]
    fn batches_are_consecutive_and_within_the_limits() {
        let limits = PushLimits { max_messages: 3, max_bytes: 10 };
        assert_eq!(taken(&mut window(&[1, 1, 1, 1]), limits), [(3, 3), (1, 4)]);
        assert_eq!(taken(&mut window(&[6, 4, 1]), limits), [(2, 2), (1, 3)]);
        assert_eq!(taken(&mut window(&[1, 50, 1]), limits), [(1, 1), (1, 2), (1, 3)], "a large one alone");
    }

    #[test]
    fn a_message_counts_until_it_is_acknowledged() {
        let limits = PushLimits { max_messages: 2, max_bytes: 10 };
        let mut window = window(&[1, 1, 1]);
        assert_eq!(window.take(limits).map(|batch| batch.receipt), Some(2));
        assert_eq!(window.unacked(), 3);
        window.acked();
        assert_eq!(window.unacked(), 1);
    }
}

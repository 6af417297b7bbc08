//! Notices that messages wait at the broker, and that its consumer gets none.

/// From so many checks in a row on that find messages waiting, the broker has lost the consumer. While another bridge consumes
/// the queue, the number of its consumers does not show this.
const MANY_CHECKS: u32 = 2;

/// What the checks of one silent queue have found.
#[derive(Debug, Default)]
pub(crate) struct Starvation {
    checks: u32,
    /// Another consumer was started, and got nothing either. So this one waits behind the queue's single active consumer, or
    /// behind one with a higher priority.
    is_standby: bool,
}

impl Starvation {
    /// A consumer starts.
    pub(crate) fn started(&mut self) {
        self.checks = 0;
    }

    /// A message has arrived.
    pub(crate) fn over(&mut self) {
        *self = Self::default();
    }

    /// A check has found so many messages that no consumer has. Returns whether to start another consumer, which happens once
    /// until a message arrives.
    pub(crate) fn needs_another_consumer(&mut self, waiting: u32) -> bool {
        self.checks = if waiting == 0 { 0 } else { self.checks.saturating_add(1) };
        if self.checks < MANY_CHECKS || self.is_standby {
            return false;
        }
        self.is_standby = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_gets_nothing_is_replaced() {
        let mut starvation = Starvation::default();
        let found = [5, 0, 5, 5].map(|waiting| starvation.needs_another_consumer(waiting));
        assert_eq!(found, [false, false, false, true]);
    }

    #[test]
    fn a_standby_is_replaced_once() {
        let mut starvation = Starvation::default();
        assert_eq!([5, 5].map(|waiting| starvation.needs_another_consumer(waiting)), [false, true]);
        starvation.started();
        assert_eq!([5; 4].map(|waiting| starvation.needs_another_consumer(waiting)), [false; 4]);
        starvation.over();
        assert_eq!([5, 5].map(|waiting| starvation.needs_another_consumer(waiting)), [false, true]);
    }
}

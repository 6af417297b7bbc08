//! Whether a queue's backlog is above its cap.

/// Decides when a queue accepts no more messages, and when it accepts them again.
#[derive(Debug)]
pub struct BacklogCap {
    max_bytes: u64,
    is_full: bool,
    /// The backlog was above its cap, and only the next push can show its size.
    probing: bool,
}

/// What a backlog's size has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapChange {
    /// The backlog is above its cap.
    Full,
    /// The backlog is below its cap again.
    Room,
}

impl BacklogCap {
    /// A cap of so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, is_full: false, probing: false }
    }

    /// The cap.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether nothing may be pushed.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Evaluates the backlog after a push.
    pub fn pushed(&mut self, backlog_bytes: u64) -> Option<CapChange> {
        let is_above = backlog_bytes > self.max_bytes;
        match (self.probing, is_above) {
            (false, true) => Some(self.change(CapChange::Full)),
            (true, true) => {
                self.is_full = true;
                None
            }
            (true, false) => Some(self.change(CapChange::Room)),
            (false, false) => None,
        }
    }

    /// Evaluates the backlog while nothing is pushed. There is room again below nine tenths of the cap.
    pub fn looked(&mut self, backlog_bytes: u64) -> Option<CapChange> {
        let has_room = backlog_bytes <= self.max_bytes - self.max_bytes / 10;
        has_room.then(|| self.change(CapChange::Room))
    }

    /// Lets the next push through. Its reply shows the queue's length, because the ledger cannot be read.
    pub fn probe(&mut self) {
        self.probing = true;
        self.is_full = false;
    }

    fn change(&mut self, change: CapChange) -> CapChange {
        self.probing = false;
        self.is_full = change == CapChange::Full;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_below_nine_tenths() {
        let mut cap = BacklogCap::new(100);
        assert_eq!((cap.pushed(100), cap.is_full()), (None, false));
        assert_eq!((cap.pushed(101), cap.is_full()), (Some(CapChange::Full), true));
        assert_eq!((cap.looked(91), cap.is_full()), (None, true));
        assert_eq!((cap.looked(90), cap.is_full()), (Some(CapChange::Room), false));
    }

    #[test]
    fn a_probe_that_finds_no_room_changes_nothing() {
        let mut cap = BacklogCap::new(100);
        cap.pushed(101);
        cap.probe();
        assert!(!cap.is_full());
        assert_eq!((cap.pushed(101), cap.is_full()), (None, true));
        cap.probe();
        assert_eq!((cap.pushed(50), cap.is_full()), (Some(CapChange::Room), false));
    }
}

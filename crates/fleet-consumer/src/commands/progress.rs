//! Lines of progress on standard error, whether that is a terminal or a file.

use std::time::{Duration, Instant};

use fleet_runtime::stderr;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(3);

/// Prints every few seconds how far a long command is.
pub(crate) struct ProgressLines {
    start: Instant,
    next: Instant,
}

impl Default for ProgressLines {
    fn default() -> Self {
        let start = Instant::now();
        Self { start, next: start + INTERVAL }
    }
}

impl ProgressLines {
    /// Prints `line` if it is time for one.
    pub(crate) fn print(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + INTERVAL;
            stderr::say(line());
        }
    }

    /// The rate of `count`, a second.
    pub(crate) fn rate(&self, count: u64) -> u128 {
        u128::from(count) * 1000 / self.start.elapsed().as_millis().max(1)
    }
}

//! Measures the longest time without progress.

use std::time::{Duration, Instant};

/// The time between two signs of progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stall {
    last: Option<Instant>,
    longest: Duration,
}

impl Stall {
    /// Records progress.
    pub fn progressed(&mut self) {
        let now = Instant::now();
        self.longest = self.longest();
        self.last = Some(now);
    }

    /// The longest time without progress, including the time since the last progress.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest.max(self.last.map_or(Duration::ZERO, |last| last.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_begins_with_the_first_progress_and_lasts_until_the_next() {
        let mut stall = Stall::default();
        assert_eq!(stall.longest(), Duration::ZERO);
        let ago = |ms| Instant::now().checked_sub(Duration::from_millis(ms));
        stall.last = ago(5_000);
        assert!(stall.longest() >= Duration::from_secs(5));
        stall.progressed();
        stall.last = ago(50);
        assert!(stall.longest() >= Duration::from_secs(5) && stall.longest() < Duration::from_secs(60));
    }
}

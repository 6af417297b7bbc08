//! Pauses between retries.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The bounds of the pauses between retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPauses {
    /// The longest that the first pause may be.
    pub first: Duration,
    /// The longest that any pause may be.
    pub longest: Duration,
}

/// The pauses of one sequence of retries: each is twice the one before, with jitter.
///
/// A pause is chosen at random between half of its bound and its bound, so that processes that fail together do not retry
/// together.
#[derive(Debug)]
pub struct Backoff {
    pauses: RetryPauses,
    sequence: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl RetryPauses {
    /// Begins a sequence of retries.
    #[must_use]
    pub fn start(self) -> Backoff {
        // The jitter of `backon` adds up to the whole pause.
        let builder = ExponentialBuilder::new()
            // Twice nothing is nothing: there would never be a pause.
            .with_min_delay((self.first / 2).max(Duration::from_nanos(1)))
            .with_max_delay(self.longest / 2)
            .without_max_times()
            .with_jitter();
        Backoff { pauses: self, sequence: builder.build() }
    }
}

impl Backoff {
    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.sequence.next().unwrap_or(self.pauses.longest)
    }

    /// Begins again with the first pause, after a success.
    pub fn reset(&mut self) {
        *self = self.pauses.start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSES: RetryPauses =
        RetryPauses { first: Duration::from_millis(100), longest: Duration::from_secs(2) };

    #[test]
    fn pauses_double_until_the_longest() {
        let mut backoff = PAUSES.start();
        for bound_ms in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            let bound = Duration::from_millis(bound_ms);
            let pause = backoff.next_pause();
            // `backon` computes with f32.
            let rounding = Duration::from_micros(1);
            assert!(bound / 2 <= pause + rounding && pause <= bound + rounding, "{pause:?} of {bound:?}");
        }
    }

    #[test]
    fn the_shortest_first_pause_grows_too() {
        let mut backoff = RetryPauses { first: Duration::from_nanos(1), ..PAUSES }.start();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next_pause()).collect();
        assert!(pauses.last() >= Some(&(PAUSES.longest / 2)), "{pauses:?}");
    }

    #[test]
    fn a_reset_begins_with_the_first_pause() {
        let mut backoff = PAUSES.start();
        for _ in 0..10 {
            backoff.next_pause();
        }
        backoff.reset();
        assert!(backoff.next_pause() <= PAUSES.first);
    }

    #[test]
    fn pauses_differ() {
        let pauses = || {
            let mut backoff = PAUSES.start();
            [backoff.next_pause(), backoff.next_pause(), backoff.next_pause()]
        };
        assert_ne!(pauses(), pauses());
    }
}

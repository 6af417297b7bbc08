//! How much of Redis' time one provider's pushes leave to the others.
//!
//! Redis executes one command at a time and writes the append-only file before it replies, so a large push takes
//! milliseconds. If one provider sent a burst of large pushes without a pause, every push of every other provider would wait
//! for one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long after its last push a provider counts as active.
const ACTIVE: Duration = Duration::from_millis(250);

/// A smaller push does not delay the others.
const LARGE_BYTES: usize = 32 << 10;

/// Marks a push that has not ended.
const UNDER_WAY: u64 = u64::MAX;

/// Longest pause, however slow the push was.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// One provider's share.
#[derive(Debug)]
pub(crate) struct Share {
    own: usize,
    started: Instant,
    /// When each provider pushed last, in milliseconds since `started`; 0 if never, [`UNDER_WAY`] during a push.
    last_pushes: Arc<[AtomicU64]>,
}

impl Share {
    /// One share for each of `providers` providers.
    pub(crate) fn among(providers: usize) -> impl Iterator<Item = Self> {
        let started = Instant::now();
        let last_pushes: Arc<[AtomicU64]> = (0..providers).map(|_provider| AtomicU64::new(0)).collect();
        (0..providers).map(move |own| Self { own, started, last_pushes: Arc::clone(&last_pushes) })
    }

    /// Notes that a push begins. The provider is active until it ends.
    pub(super) fn before_push(&self) {
        self.last_pushes[self.own].store(UNDER_WAY, Ordering::Relaxed);
    }

    /// Notes that a push has ended. Returns how long to pause: with `n` active providers, a pause of `n - 1` times its duration
    /// follows a large push.
    pub(super) fn after_push(&self, bytes: usize, took: Duration) -> Duration {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.last_pushes[self.own].store(now_ms, Ordering::Relaxed);
        if bytes < LARGE_BYTES {
            return Duration::ZERO;
        }
        let is_active = |last: u64| last > 0 && u128::from(now_ms.saturating_sub(last)) < ACTIVE.as_millis();
        let others = self.last_pushes.iter().enumerate();
        let others = others
            .filter(|(provider, last)| *provider != self.own && is_active(last.load(Ordering::Relaxed)))
            .count();
        took.saturating_mul(u32::try_from(others).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(4);

    #[test]
    fn alone_a_provider_never_pauses() {
        let shares: Vec<_> = Share::among(3).collect();
        assert_eq!(shares[0].after_push(1 << 20, TOOK), Duration::ZERO);
        assert_eq!(shares[0].after_push(1 << 20, TOOK), Duration::ZERO, "its own push does not count");
    }

    #[test]
    fn a_slow_push_counts_while_it_is_under_way() {
        let shares: Vec<_> = Share::among(2).collect();
        shares[1].before_push();
        assert_eq!(shares[0].after_push(LARGE_BYTES, TOOK), TOOK);
    }

    #[test]
    fn a_large_push_leaves_each_of_the_others_as_much() {
        let shares: Vec<_> = Share::among(3).collect();
        assert_eq!(shares[1].after_push(450, TOOK), Duration::ZERO, "a small push");
        assert_eq!(shares[0].after_push(LARGE_BYTES, TOOK), TOOK);
        assert_eq!(shares[2].after_push(450, TOOK), Duration::ZERO);
        assert_eq!(shares[0].after_push(LARGE_BYTES, TOOK), 2 * TOOK);
        assert_eq!(shares[0].after_push(LARGE_BYTES, Duration::from_secs(3)), LONGEST_PAUSE);
    }
}

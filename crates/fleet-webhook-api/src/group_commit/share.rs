//! How much of Redis' time one provider's pushes leave to the others.
//!
//! Redis executes one command at a time and writes the append-only file before it replies, so a large push takes
//! milliseconds. If one provider sent a burst of large pushes without a pause, every push of every other provider would wait
//! for one of them.
//!
//! A provider with several queues on one server pauses with all of them, so that it gets no more of the server's time than a
//! provider with one queue. Queues on different servers pause separately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long after its last push a provider counts as active.
const ACTIVE: Duration = Duration::from_millis(250);

/// A smaller push does not delay the others.
const LARGE_BYTES: usize = 32 << 10;

/// Longest pause, however slow the push was.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The shares of all providers.
#[derive(Debug)]
pub(crate) struct Shares {
    started: Instant,
    providers: Arc<[Activity]>,
}

/// When a provider has pushed.
#[derive(Debug, Default)]
struct Activity {
    under_way: AtomicUsize,
    /// When its last push ended, in milliseconds since the start; 0 if never.
    last_ms: AtomicU64,
}

/// One queue's part of its provider's share.
#[derive(Debug)]
pub(crate) struct Share {
    provider: usize,
    started: Instant,
    providers: Arc<[Activity]>,
    /// Until when the provider pauses on this server, in microseconds since the start.
    pause_until_us: Arc<AtomicU64>,
}

impl Shares {
    /// Equal shares for so many providers.
    pub(crate) fn among(providers: usize) -> Self {
        let activities = (0..providers).map(|_provider| Activity::default()).collect();
        Self { started: Instant::now(), providers: activities }
    }

    /// The share of the provider with this index, for each of so many queues. `one_server`: all of them are on one server.
    pub(crate) fn of(&self, provider: usize, queues: usize, one_server: bool) -> Vec<Share> {
        let together = Arc::<AtomicU64>::default();
        let share = |_queue| Share {
            provider,
            started: self.started,
            providers: Arc::clone(&self.providers),
            pause_until_us: if one_server { Arc::clone(&together) } else { Arc::default() },
        };
        (0..queues).map(share).collect()
    }
}

impl Share {
    /// Notes that a push begins. The provider is active until it ends.
    pub(super) fn before_push(&self) {
        self.providers[self.provider].under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a push has ended. With `n` active providers, a pause of `n - 1` times its duration follows a large push.
    pub(super) fn after_push(&self, bytes: usize, took: Duration) {
        let now = self.started.elapsed();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        let own = &self.providers[self.provider];
        own.last_ms.store(now_ms, Ordering::Relaxed);
        own.under_way.fetch_sub(1, Ordering::Relaxed);
        if bytes < LARGE_BYTES {
            return;
        }
        let others = self.providers.iter().enumerate();
        let others =
            others.filter(|(provider, other)| *provider != self.provider && other.is_active(now_ms)).count();
        if others == 0 {
            return;
        }
        let pause = took.saturating_mul(u32::try_from(others).unwrap_or(u32::MAX));
        let (now, pause, longest) = (micros(now), micros(pause), micros(LONGEST_PAUSE));
        // The provider's pauses on this server follow each other.
        let until = |until: u64| Some((until.max(now) + pause).min(now + longest));
        // It cannot fail, as `until` always returns a time.
        let _before = self.pause_until_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, until);
    }

    /// How long to pause before the next push.
    pub(super) fn pause(&self) -> Option<Duration> {
        let until = Duration::from_micros(self.pause_until_us.load(Ordering::Relaxed));
        if until.is_zero() {
            return None;
        }
        until.checked_sub(self.started.elapsed()).filter(|pause| !pause.is_zero())
    }
}

impl Activity {
    fn is_active(&self, now_ms: u64) -> bool {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let was_active = last_ms > 0 && u128::from(now_ms.saturating_sub(last_ms)) < ACTIVE.as_millis();
        was_active || self.under_way.load(Ordering::Relaxed) > 0
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(4);

    /// One queue for each of so many providers.
    fn shares(providers: usize) -> Vec<Share> {
        let shares = Shares::among(providers);
        (0..providers).flat_map(|provider| shares.of(provider, 1, true)).collect()
    }

    fn pauses_until(share: &Share) -> Duration {
        Duration::from_micros(share.pause_until_us.load(Ordering::Relaxed))
    }

    /// Asserts that a pause of so many milliseconds follows a push, from the push's end on.
    fn assert_pause(share: &Share, bytes: usize, took: Duration, expected_ms: u64) {
        share.before_push();
        let (begun, rounding) = (share.started.elapsed(), Duration::from_micros(1));
        share.after_push(bytes, took);
        let (ended, expected) = (share.started.elapsed(), Duration::from_millis(expected_ms));
        let until = pauses_until(share);
        if expected.is_zero() {
            assert_eq!((until, share.pause()), (Duration::ZERO, None));
        } else {
            assert!(
                (begun + expected - rounding..=ended + expected).contains(&until),
                "{until:?} from {ended:?}"
            );
        }
    }

    #[test]
    fn alone_a_provider_never_pauses() {
        let shares = shares(3);
        assert_pause(&shares[0], 1 << 20, TOOK, 0);
        assert_pause(&shares[0], 1 << 20, TOOK, 0);
    }

    #[test]
    fn a_slow_push_counts_while_it_is_under_way() {
        let shares = shares(2);
        shares[1].before_push();
        assert_pause(&shares[0], LARGE_BYTES, TOOK, 4);
    }

    #[test]
    fn a_large_push_leaves_each_of_the_others_as_much() {
        let shares = shares(3);
        // They stay active, however slow this machine is.
        shares[0].before_push();
        shares[1].before_push();
        assert_pause(&shares[2], 450, TOOK, 0);
        assert_pause(&shares[2], LARGE_BYTES, TOOK, 8);
        assert_pause(&shares[2], LARGE_BYTES, Duration::from_secs(3), 50);
    }

    #[test]
    fn shards_on_one_server_pause_together() {
        let shares = Shares::among(2);
        let other = shares.of(1, 1, true);
        other[0].before_push();
        let one_server = shares.of(0, 2, true);
        assert_pause(&one_server[0], LARGE_BYTES, TOOK, 4);
        let first = pauses_until(&one_server[0]);
        assert_eq!(pauses_until(&one_server[1]), first, "the other shard waits as well");
        one_server[1].before_push();
        one_server[1].after_push(LARGE_BYTES, TOOK);
        assert!(pauses_until(&one_server[0]) >= first + TOOK, "and its own pause comes after that");

        let two_servers = shares.of(0, 2, false);
        assert_pause(&two_servers[0], LARGE_BYTES, TOOK, 4);
        assert_eq!((pauses_until(&two_servers[1]), two_servers[1].pause()), (Duration::ZERO, None));
    }
}

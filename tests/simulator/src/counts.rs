//! Counters and response times of a run, shared by all connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The outcomes of the requests.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests posted, including resends but not retries.
    pub posted: AtomicU64,
    /// Requests that got a 200 as expected.
    pub answered_200: AtomicU64,
    /// Forged requests that got a 401 as expected.
    pub refused_401: AtomicU64,
    /// Messages published to the broker, including resends but not retries.
    pub published: AtomicU64,
    /// Messages that the broker has confirmed.
    pub confirmed: AtomicU64,
    /// Retries after 503, 408, 429, another 5xx, a lost connection, or a message that was not confirmed.
    pub retried: AtomicU64,
    /// Requests that got an unexpected status.
    pub answered_other: AtomicU64,
    /// Requests without a final response, and messages without a confirm, when their retries ended.
    pub unacknowledged: AtomicU64,
    /// The time from sending an attempt to its response.
    pub answer_times: AnswerTimes,
}

/// Increments the counter.
pub fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Reads a counter.
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A histogram with sixteen buckets for every power of two of microseconds. Its values are at most 6 % too
/// high.
#[derive(Debug)]
pub struct AnswerTimes {
    buckets: Vec<AtomicU64>,
}

const BUCKETS: u64 = 40 * 16;

impl Default for AnswerTimes {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl AnswerTimes {
    /// Adds one response time.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let index = usize::try_from(bucket(micros)).unwrap_or(0);
        if let Some(bucket) = self.buckets.get(index).or(self.buckets.last()) {
            bump(bucket);
        }
    }

    /// The time within which `percent` of the responses came, or zero if there were none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let total: u64 = self.buckets.iter().map(read).sum();
        let wanted = (total * percent).div_ceil(100);
        let mut below = 0;
        for (index, bucket) in (0_u64..).zip(&self.buckets) {
            below += read(bucket);
            if total > 0 && below >= wanted {
                return Duration::from_micros(upper_bound(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(micros: u64) -> u64 {
    if micros < 16 {
        return micros;
    }
    let exponent = u64::from(micros.ilog2());
    (exponent - 3) * 16 + ((micros >> (exponent - 4)) & 15)
}

fn upper_bound(index: u64) -> u64 {
    if index < 16 {
        return index;
    }
    let exponent = index / 16 + 3;
    ((16 + index % 16 + 1) << (exponent - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_sixteenth_too_high() {
        for micros in (0..200_000).chain([1 << 30, (1 << 36) + 12_345]) {
            let upper = upper_bound(bucket(micros));
            assert!(upper >= micros && upper - micros <= micros / 16, "{micros} {upper}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_observed() {
        let times = AnswerTimes::default();
        assert_eq!(times.percentile(99), Duration::ZERO);
        (1..=100).for_each(|ms| times.observe(Duration::from_millis(ms)));
        let p50 = times.percentile(50).as_millis();
        assert!((50..=53).contains(&p50), "{p50}");
        times.observe(Duration::MAX);
    }
}

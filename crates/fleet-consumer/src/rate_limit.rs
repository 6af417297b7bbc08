//! Limits the events a second, for a database that other programs need too.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// A rate limit that all queues of this process share.
#[derive(Debug)]
pub(crate) struct RateLimit {
    interval: Option<Duration>,
    next_free: Mutex<Instant>,
}

impl RateLimit {
    /// At most `max_events_per_second`; no limit if absent.
    pub(crate) fn new(max_events_per_second: Option<u32>) -> Self {
        let interval = max_events_per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        Self { interval, next_free: Mutex::new(Instant::now()) }
    }

    /// Waits until the events before these have had their time, then reserves time for `events`.
    pub(crate) async fn wait(&self, events: usize) {
        let Some(interval) = self.interval else {
            return;
        };
        let duration = interval.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
        let start = {
            let mut next_free = self.next_free.lock().await;
            let start = (*next_free).max(Instant::now());
            *next_free = start + duration;
            start
        };
        tokio::time::sleep_until(start).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_beyond_the_rate_wait() {
        let rate_limit = RateLimit::new(Some(100));
        let start = Instant::now();
        for _ in 0..3 {
            rate_limit.wait(5).await;
        }
        // The third call waits for the time of the first two. A busy machine may take longer.
        assert!(start.elapsed() >= Duration::from_millis(99), "{:?}", start.elapsed());
    }
}

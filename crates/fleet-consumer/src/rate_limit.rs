//! A bound on events a second, for a database that others need too.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Spaces events evenly over all queues of this process.
#[derive(Debug)]
pub(crate) struct RateLimit {
    cost_of_one: Option<Duration>,
    paid_until: Mutex<Instant>,
}

impl RateLimit {
    /// At most `max_events_per_second`; no bound if absent.
    pub(crate) fn new(max_events_per_second: Option<u32>) -> Self {
        let cost_of_one = max_events_per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        Self { cost_of_one, paid_until: Mutex::new(Instant::now()) }
    }

    /// Waits until earlier events are paid for, then charges for `events`.
    pub(crate) async fn pay(&self, events: usize) {
        let Some(cost_of_one) = self.cost_of_one else {
            return;
        };
        let cost = cost_of_one.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
        let start = {
            let mut paid_until = self.paid_until.lock().await;
            let start = (*paid_until).max(Instant::now());
            *paid_until = start + cost;
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
        let throttle = RateLimit::new(Some(100));
        let start = Instant::now();
        for _ in 0..3 {
            throttle.pay(5).await;
        }
        // The first two are paid for by waiting before the third; how much longer it takes is the machine's affair.
        assert!(start.elapsed() >= Duration::from_millis(99), "{:?}", start.elapsed());
    }
}

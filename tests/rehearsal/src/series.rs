//! What Prometheus would store: the consumers' scrapes for each queue, and the two queries of the External
//! metrics.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// One queue as shown by one consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Queue {
    pub(super) backlog_bytes: f64,
    pub(super) accepted_bytes: f64,
    pub(super) oldest_seconds: f64,
}

/// One consumer's `/metrics`, for each queue.
#[derive(Clone, Debug)]
pub(super) struct Scrape {
    pub(super) at: Instant,
    pub(super) queues: BTreeMap<String, Queue>,
}

impl Scrape {
    /// Parses the Prometheus text format and ignores all other series.
    pub(super) fn read(at: Instant, text: &str) -> Self {
        let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
        for line in text.lines() {
            let Some((name, queue, value)) = sample(line) else {
                continue;
            };
            let set: fn(&mut Queue, f64) = match name {
                "fleet_queue_backlog_bytes" => |queue, value| queue.backlog_bytes = value,
                "fleet_queue_accepted_bytes_total" => |queue, value| queue.accepted_bytes = value,
                // The older one of the two states, waiting and leased.
                "fleet_queue_oldest_age_seconds" => {
                    |queue, value| queue.oldest_seconds = queue.oldest_seconds.max(value)
                }
                _ => continue,
            };
            set(queues.entry(queue.to_owned()).or_default(), value);
        }
        Self { at, queues }
    }
}

/// The name, queue and value of a line whose series has the label `queue`.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let (_, queue) = labels.split_once("queue=\"")?;
    let (queue, _) = queue.split_once('"')?;
    Some((name, queue, value.trim().parse().ok()?))
}

/// `max by (queue)` over the consumers at one time.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    at: Instant,
    queues: BTreeMap<String, Queue>,
}

impl Moment {
    fn sum(&self, value: impl Fn(&Queue) -> f64) -> f64 {
        self.queues.values().map(value).sum()
    }

    /// The bytes that are accepted and not settled, of all queues.
    pub(super) fn backlog_bytes(&self) -> f64 {
        self.sum(|queue| queue.backlog_bytes)
    }

    /// The total of accepted bytes, of all queues.
    pub(super) fn accepted_bytes(&self) -> f64 {
        self.sum(|queue| queue.accepted_bytes)
    }

    /// The age of the oldest message.
    pub(super) fn oldest_seconds(&self) -> f64 {
        self.queues.values().map(|queue| queue.oldest_seconds).fold(0.0, f64::max)
    }

    /// The time of the scrapes.
    pub(super) fn at(&self) -> Instant {
        self.at
    }
}

/// The most recent moments.
#[derive(Debug)]
pub(super) struct Series {
    window: Duration,
    moments: VecDeque<Moment>,
}

impl Series {
    /// Keeps enough moments for a rate over `window`.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, moments: VecDeque::new() }
    }

    /// Adds the consumers' current scrapes. Scrapes older than `stale` are ignored.
    pub(super) fn push(&mut self, at: Instant, scrapes: impl Iterator<Item = Scrape>, stale: Duration) {
        let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
        for scrape in scrapes.filter(|scrape| at.saturating_duration_since(scrape.at) <= stale) {
            for (name, shown) in scrape.queues {
                let queue = queues.entry(name).or_default();
                queue.backlog_bytes = queue.backlog_bytes.max(shown.backlog_bytes);
                queue.accepted_bytes = queue.accepted_bytes.max(shown.accepted_bytes);
                queue.oldest_seconds = queue.oldest_seconds.max(shown.oldest_seconds);
            }
        }
        if !queues.is_empty() {
            self.moments.push_back(Moment { at, queues });
        }
        while self.moments.front().is_some_and(|moment| at.saturating_duration_since(moment.at) > self.window)
        {
            self.moments.pop_front();
        }
    }

    /// The newest moment.
    pub(super) fn last(&self) -> Option<&Moment> {
        self.moments.back()
    }

    /// `sum(max by (queue) (rate(fleet_queue_accepted_bytes_total[window])))`.
    pub(super) fn accepted_rate(&self) -> Option<f64> {
        let (first, last) = (self.moments.front()?, self.moments.back()?);
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        // A queue's counter never falls, whichever consumer shows it, because it comes from the ledger in
        // Redis.
        (seconds > 0.0).then(|| (last.accepted_bytes() - first.accepted_bytes()).max(0.0) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Queue, Scrape, Series};

    const TEXT: &str = "\
# HELP fleet_queue_backlog_bytes Bytes accepted but not settled
# TYPE fleet_queue_backlog_bytes gauge
fleet_queue_backlog_bytes{queue=\"niu\"} 1500
fleet_queue_accepted_bytes_total{queue=\"niu\"} 9000
fleet_queue_oldest_age_seconds{queue=\"niu\",state=\"waiting\"} 0.5
fleet_queue_oldest_age_seconds{queue=\"niu\",state=\"leased\"} 2.25
fleet_queue_backlog_bytes{queue=\"segway\"} 0
fleet_consumer_leases_total{provider=\"niu\",fate=\"claimed\"} 7
";

    #[test]
    fn the_queues_series_are_read() {
        let scrape = Scrape::read(Instant::now(), TEXT);
        assert_eq!(scrape.queues.len(), 2);
        let niu = Queue { backlog_bytes: 1_500.0, accepted_bytes: 9_000.0, oldest_seconds: 2.25 };
        assert_eq!(scrape.queues["niu"], niu);
        assert_eq!(scrape.queues["segway"], Queue::default());
    }

    #[test]
    fn consumers_are_not_summed_and_queues_are() {
        let now = Instant::now();
        let scrape = |niu: f64, invers: f64| Scrape {
            at: now,
            queues: [("niu", niu), ("invers", invers)]
                .map(|(name, bytes)| (name.to_owned(), Queue { backlog_bytes: bytes, ..Queue::default() }))
                .into(),
        };
        let mut series = Series::new(Duration::from_secs(30));
        series.push(now, [scrape(100.0, 7.0), scrape(90.0, 8.0)].into_iter(), Duration::ZERO);
        assert!((series.last().unwrap().backlog_bytes() - 108.0).abs() < 1e-9);
    }

    #[test]
    fn the_rate_is_of_the_window_and_a_silent_consumer_does_not_count() {
        let start = Instant::now();
        let mut series = Series::new(Duration::from_secs(30));
        let accepted = |at: Instant, bytes: f64| Scrape {
            at,
            queues: [("niu".to_owned(), Queue { accepted_bytes: bytes, ..Queue::default() })].into(),
        };
        assert_eq!(series.accepted_rate(), None);
        for step in 0..=6_u32 {
            let at = start + Duration::from_secs(10) * step;
            let silent = accepted(start, 1e9);
            let scrapes = [accepted(at, 1_000.0 * f64::from(step * step)), silent];
            let live = if step == 0 { 1 } else { 2 };
            series.push(at, scrapes.into_iter().take(live), Duration::from_secs(5));
        }
        // From 30 s to 60 s: 9,000 to 36,000.
        assert!((series.accepted_rate().unwrap() - 900.0).abs() < 1e-9);
    }
}

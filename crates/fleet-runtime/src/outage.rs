//! Decides when to log a repeated failure: when an outage begins, once a minute while it lasts, and when it is over.

use std::time::{Duration, Instant};

/// Time between two lines about one outage.
pub const SAY_EVERY: Duration = Duration::from_secs(60);

/// Most outages whose beginning is logged within [`SAY_EVERY`]. A server that fails at every other call begins an outage each
/// time. The next line counts the failures of the outages that were not logged.
const MAX_BEGINNINGS: u32 = 5;

/// Decides which failures of one server or file are logged. It logs nothing itself: the caller knows the message and the
/// latest error. All failures until the next success belong to one outage.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutageLog {
    outage: Option<Outage>,
    /// Failures that no line has counted yet.
    unsaid: u64,
    /// Since when `beginnings` are counted.
    counted_since: Option<Instant>,
    beginnings: u32,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failures: u64,
    said_at: Option<Instant>,
}

/// A failure to log, at the beginning of an outage or a minute after the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Failures since the last line.
    pub failures: u64,
    /// How long the outage has lasted.
    pub lasted: Duration,
}

/// The end of an outage whose beginning was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Failures of the whole outage.
    pub failures: u64,
    /// How long it lasted, from the first failure to the first success.
    pub lasted: Duration,
}

impl OutageLog {
    /// Notes failures. Returns what to log, if a line is due.
    pub fn failed(&mut self, now: Instant, failures: u64) -> Option<Failing> {
        let mut outage = self.outage.unwrap_or(Outage { since: now, failures: 0, said_at: None });
        outage.failures += failures;
        self.unsaid += failures;
        let is_due = match outage.said_at {
            Some(said_at) => now.saturating_duration_since(said_at) >= SAY_EVERY,
            None => self.may_begin(now),
        };
        if is_due {
            outage.said_at = Some(now);
        }
        self.outage = Some(outage);
        let lasted = now.saturating_duration_since(outage.since);
        is_due.then(|| Failing { failures: std::mem::take(&mut self.unsaid), lasted })
    }

    /// Notes a success. Returns what to log, if that ends an outage whose beginning was logged.
    pub fn succeeded(&mut self, now: Instant) -> Option<Over> {
        let Outage { since, failures, said_at } = self.outage.take()?;
        said_at?;
        self.unsaid = 0;
        Some(Over { failures, lasted: now.saturating_duration_since(since) })
    }

    fn may_begin(&mut self, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= SAY_EVERY;
        if self.counted_since.is_none_or(is_over) {
            (self.counted_since, self.beginnings) = (Some(now), 0);
        }
        let may = self.beginnings < MAX_BEGINNINGS;
        self.beginnings += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_is_over() {
        let (mut log, start) = (OutageLog::default(), Instant::now());
        assert_eq!(log.succeeded(start), None);
        // Ten failures a second, for two and a half minutes.
        let failing: Vec<_> =
            (0..1500).filter_map(|tenth| log.failed(start + seconds(1) * tenth / 10, 2)).collect();
        let line = |failures, lasted| Failing { failures, lasted: seconds(lasted) };
        assert_eq!(failing, [line(2, 0), line(1200, 60), line(1200, 120)]);
        let end = start + seconds(150);
        assert_eq!(log.succeeded(end), Some(Over { failures: 3000, lasted: seconds(150) }));
        assert_eq!(log.succeeded(end), None, "it is over once");
        assert_eq!(log.failed(end, 1), Some(line(1, 0)), "the next outage begins anew");
    }

    #[test]
    fn what_fails_and_works_in_turn_does_not_fill_the_log() {
        let (mut log, start) = (OutageLog::default(), Instant::now());
        let (mut begun, mut over) = (0, 0);
        for second in 0..60 {
            let now = start + seconds(second);
            begun += u32::from(log.failed(now, 1).is_some());
            over += u32::from(log.succeeded(now).is_some());
        }
        assert_eq!((begun, over), (MAX_BEGINNINGS, MAX_BEGINNINGS));
        let next = log.failed(start + seconds(60), 1);
        assert_eq!(
            next,
            Some(Failing { failures: 56, lasted: Duration::ZERO }),
            "none is lost from the count"
        );
    }

    #[test]
    fn an_outage_whose_beginning_was_not_logged_is_logged_as_soon_as_there_is_room() {
        let (mut log, start) = (OutageLog::default(), Instant::now());
        for _ in 0..MAX_BEGINNINGS {
            assert!(log.failed(start, 1).is_some());
            assert!(log.succeeded(start).is_some());
        }
        assert_eq!(log.failed(start + seconds(1), 1), None);
        let later = log.failed(start + seconds(61), 1);
        assert_eq!(later, Some(Failing { failures: 2, lasted: seconds(60) }));
        assert_eq!(log.succeeded(start + seconds(62)), Some(Over { failures: 2, lasted: seconds(61) }));
    }
}

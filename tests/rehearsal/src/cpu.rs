//! Samples a process's CPU like metrics-server.

use std::fs;
use std::time::{Duration, Instant};

/// The CPU usage between two reads of `/proc/PID/stat`.
#[derive(Debug)]
pub(super) struct Meter {
    pid: u32,
    last: Option<Reading>,
    sample: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    ticks: u64,
}

/// The CPU usage over a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The end of the period.
    pub(super) at: Instant,
    /// The length of the period.
    pub(super) window: Duration,
    /// The average in thousandths of a core.
    pub(super) milli: u32,
}

impl Meter {
    /// Measures this process. The first sample exists after the second read.
    pub(super) fn new(pid: u32) -> Self {
        let mut meter = Self { pid, last: None, sample: None };
        meter.read(Instant::now());
        meter
    }

    /// Ends a sample and begins the next one.
    pub(super) fn read(&mut self, at: Instant) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        let Some(ticks) = stat.ok().and_then(|stat| ticks(&stat)) else {
            return;
        };
        if let Some(last) = self.last {
            let window = at.saturating_duration_since(last.at);
            let hertz = rustix::param::clock_ticks_per_second().max(1);
            let milli_seconds = u128::from(ticks.saturating_sub(last.ticks)) * 1_000 / u128::from(hertz);
            let milli = milli_seconds * 1_000 / window.as_millis().max(1);
            self.sample = Some(Sample { at, window, milli: u32::try_from(milli).unwrap_or(u32::MAX) });
        }
        self.last = Some(Reading { at, ticks });
    }

    pub(super) fn sample(&self) -> Option<Sample> {
        self.sample
    }
}

/// utime + stime. The program's name precedes them in parentheses and may contain any character.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Meter, ticks};

    #[test]
    fn a_name_in_brackets_is_passed_over() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 17 5 0 0 20 0 3 0 9 0 0";
        assert_eq!(ticks(stat), Some(22));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn work_is_measured() {
        let mut meter = Meter::new(std::process::id());
        let start = Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(300) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        meter.read(Instant::now());
        assert!(meter.sample().unwrap().milli > 0);
    }
}

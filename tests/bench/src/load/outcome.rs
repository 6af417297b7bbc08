//! What the load generator measured.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::usage::CpuMicros;

/// What came of it; only what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers by status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Reports in the requests that were answered 200.
    pub(crate) reports: u64,
    /// Requests sent, answered or not, those sent again included.
    pub(crate) sent: u64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// Milliseconds from when a request was due to its answer.
    pub(crate) latency: Latency,
    /// CPU of the watched processes.
    pub(crate) cpu_micros: CpuMicros,
    /// CPU of the load generator.
    pub(crate) own_cpu_micros: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// The longest latency that is told apart from longer ones, microseconds.
const LONGEST_MICROS: u64 = 10 * 60 * 1_000_000;

impl Latency {
    /// An empty histogram of microseconds. Its bounds are fixed: recording never fails, and clamps what is longer.
    pub(crate) fn histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are valid"))
    }

    /// Of a histogram of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Outcome {
    /// Requests answered 200.
    pub(crate) fn accepted(&self) -> u64 {
        self.answers.get(&200).copied().unwrap_or_default()
    }

    /// Requests answered 200 in a second.
    pub(crate) fn accepted_per_second(&self) -> f64 {
        self.accepted() as f64 / self.seconds
    }

    /// CPU of these processes for each request answered 200, microseconds.
    pub(crate) fn cpu_a_request(&self, names: &[&str]) -> f64 {
        let sum: f64 = names.iter().filter_map(|&name| self.cpu_micros.get(name)).sum();
        sum / self.accepted() as f64
    }

    /// Fails unless every answer was 200.
    pub(crate) fn require_all_accepted(&self, what: &str) -> Result<(), Failure> {
        if self.accepted() > 0 && self.answers.len() == 1 {
            return Ok(());
        }
        Err(Failure::measurement(format!("{what} answered {:?} instead of 200s alone", self.answers)))
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn long_and_short_latencies_are_told_apart() {
        let mut histogram = Latency::histogram();
        for micros in [150, 150, 40_000, u64::MAX] {
            histogram.saturating_record(micros);
        }
        let latency = Latency::of(&histogram);
        assert!((0.149..0.152).contains(&latency.p50_ms), "{latency:?}");
        assert!(latency.max_ms > 500_000.0, "{latency:?}");
        assert!((39.0..41.0).contains(&(histogram.value_at_quantile(0.75) as f64 / 1000.0)), "{histogram:?}");
    }
}

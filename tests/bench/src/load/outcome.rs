//! The results of the load generator.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::usage::CpuMicros;

/// The results, without the warm-up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Responses by status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Reports in the requests that got a 200.
    pub(crate) reports: u64,
    /// Requests sent, including retries and those without a response.
    pub(crate) sent: u64,
    /// The duration of the measurement.
    pub(crate) seconds: f64,
    /// Milliseconds from when a request was due to its response.
    pub(crate) latency: Latency,
    /// The CPU time of the watched processes.
    pub(crate) cpu_micros: CpuMicros,
    /// The CPU time of the load generator.
    pub(crate) own_cpu_micros: f64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// The upper limit of the histogram, microseconds.
const LONGEST_MICROS: u64 = 10 * 60 * 1_000_000;

impl Latency {
    /// An empty histogram of microseconds with fixed bounds. Recording never fails and clamps larger values.
    pub(crate) fn histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are valid"))
    }

    /// Converts a histogram of microseconds.
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
    /// The number of requests that got a 200.
    pub(crate) fn accepted(&self) -> u64 {
        self.answers.get(&200).copied().unwrap_or_default()
    }

    /// Requests a second that got a 200.
    pub(crate) fn accepted_per_second(&self) -> f64 {
        self.accepted() as f64 / self.seconds
    }

    /// The CPU time of these processes for each request that got a 200, microseconds.
    pub(crate) fn cpu_a_request(&self, names: &[&str]) -> f64 {
        let sum: f64 = names.iter().filter_map(|&name| self.cpu_micros.get(name)).sum();
        sum / self.accepted() as f64
    }

    /// Fails unless every response was a 200.
    pub(crate) fn require_all_accepted(&self, what: &str) -> Result<(), Failure> {
        if self.accepted() > 0 && self.answers.len() == 1 {
            return Ok(());
        }
        Err(Failure::measurement(format!("{what} responded with {:?} instead of only 200", self.answers)))
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

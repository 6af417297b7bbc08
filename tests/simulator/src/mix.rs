//! Defines the scenarios by the probabilities of what they send.

use crate::cli::Scenario;

/// The probabilities of a scenario, each for one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// Sent twice, the second time at once or later.
    pub duplicated: f64,
    /// Sent later, out of order.
    pub held_back: f64,
    /// For NIU: an array of reports.
    pub niu_arrays: f64,
    /// The number of reports in an array.
    pub array_len: usize,
    /// With a wrong credential or none.
    pub forged: f64,
    /// Of an unknown type.
    pub unknown: f64,
    /// For Segway: an alert.
    pub alerts: f64,
    /// With different values at the time of the last report.
    pub contradicting: f64,
    /// Every how many vehicles one has a skewed clock; 0 = none.
    pub skewed_every: u32,
    /// If set, the vehicles' clocks start this much before now and advance with every report instead of the
    /// wall clock.
    pub backlog_ms: Option<i64>,
}

impl Mix {
    /// The mix of a scenario.
    pub fn of(scenario: Scenario) -> Self {
        let steady = Self { array_len: 10, ..Self::default() };
        match scenario {
            Scenario::Steady => steady,
            Scenario::Bomb => Self {
                niu_arrays: 0.5,
                array_len: 100,
                backlog_ms: Some(1_800_000),
                held_back: 0.1,
                ..steady
            },
            Scenario::Duplicates => Self { duplicated: 0.5, ..steady },
            Scenario::Shuffled => Self { held_back: 0.9, contradicting: 0.05, ..steady },
            Scenario::SkewedClocks => Self { skewed_every: 3, ..steady },
            Scenario::BadSignatures => Self { forged: 0.33, ..steady },
            Scenario::Flood => Self { niu_arrays: 0.4, ..Self::of(Scenario::Mixed) },
            Scenario::Mixed => Self {
                duplicated: 0.03,
                held_back: 0.05,
                niu_arrays: 0.05,
                forged: 0.02,
                unknown: 0.01,
                alerts: 0.02,
                contradicting: 0.02,
                skewed_every: 25,
                ..steady
            },
        }
    }
}

//! Checks the requirements of the day.

use std::time::Duration;

use super::timeline::{Phase, Row, Timeline};

/// The requirements that are not met.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    failed: Vec<&'static str>,
}

impl Verdict {
    /// Prints a requirement with its figures and records whether it is met.
    pub(super) fn require(&mut self, claim: &'static str, holds: bool, figures: &str) {
        println!("{:<6} {claim}: {figures}", if holds { "ok" } else { "FAILED" });
        if !holds {
            self.failed.push(claim);
        }
    }

    /// The requirements that are not met.
    pub(super) fn failed(&self) -> &[&'static str] {
        &self.failed
    }
}

/// The maximum of replicas that the controller wanted in a phase.
pub(super) fn most(timeline: &Timeline, phase: Phase) -> u32 {
    timeline.of(phase).map(|row| row.desired).max().unwrap_or(0)
}

/// The minimum.
pub(super) fn fewest(timeline: &Timeline, phase: Phase) -> u32 {
    timeline.of(phase).map(|row| row.desired).min().unwrap_or(0)
}

/// The steps of the scale-down in the evening, such as 12, 9, 6.
pub(super) fn scale_down_steps(timeline: &Timeline) -> Vec<u32> {
    let evening = timeline.rows.iter().skip_while(|row| !is_evening(row));
    let mut steps: Vec<u32> = evening.map(|row| row.desired).collect();
    steps.dedup();
    steps
}

/// The age of the oldest message since the first scale-down in the evening.
pub(super) fn oldest_during_scale_down(timeline: &Timeline) -> Duration {
    let falling = timeline.rows.iter().skip_while(|row| !is_evening(row) || row.desired == row.replicas);
    let ages = falling.map(|row| row.oldest_seconds);
    Duration::try_from_secs_f64(ages.fold(0.0, f64::max)).unwrap_or(Duration::MAX)
}

/// Whether each step is lower than the one before.
pub(super) fn is_monotone(steps: &[u32]) -> bool {
    steps.is_sorted_by(|before, after| after < before)
}

fn is_evening(row: &Row) -> bool {
    matches!(row.phase, Phase::Evening)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, is_monotone};

    #[test]
    fn a_reversal_is_not_monotone() {
        assert!(is_monotone(&[12, 9, 6, 3]));
        assert!(!is_monotone(&[12, 9, 10, 3]));
        assert!(is_monotone(&[3]));
    }

    #[test]
    fn what_fails_is_remembered() {
        let mut verdict = Verdict::default();
        verdict.require("holds", true, "1 of 1");
        verdict.require("does not", false, "0 of 1");
        assert_eq!(verdict.failed(), ["does not"]);
    }
}

//! The algorithm of the HorizontalPodAutoscaler for autoscaling/v2, as in kube-controller-manager 1.30 and
//! newer.
//!
//! Pure functions: time and metrics are arguments. The steps are those of the controller: one proposal for
//! each metric, the highest proposal, stabilization, the rate limits, minimum and maximum.

mod propose;
mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::time::Duration;

pub(crate) use self::propose::Pod;
pub(crate) use self::rules::{Limit, Metric, Policy, Rules, Scaling, Select};

/// The value of a metric. The order is that of [`Rules::metrics`].
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// The sum of an External metric's series, or `None` if its source is unavailable.
    External(Option<f64>),
    /// The replicas' CPU.
    Cpu { pods: Vec<Pod>, request_milli: u32 },
}

/// The result of one sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The number of replicas from now on.
    pub(crate) desired: u32,
    /// The proposal of each metric, or `None` if the metric is unavailable.
    pub(crate) proposals: Vec<Option<u32>>,
}

/// A recommended number of replicas, or a number of replicas added or removed, with its time.
#[derive(Clone, Copy, Debug)]
struct Noted {
    at: Duration,
    replicas: u32,
}

/// The controller of one HPA and its history.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    rules: Rules,
    recommended: Vec<Noted>,
    added: Vec<Noted>,
    removed: Vec<Noted>,
}

impl Controller {
    /// A controller without history.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, recommended: Vec::new(), added: Vec::new(), removed: Vec::new() }
    }

    /// One sync. `now` counts from any fixed time. The controller assumes that its decision is carried out.
    pub(crate) fn decide(&mut self, now: Duration, current: u32, readings: &[Reading]) -> Decision {
        if self.recommended.is_empty() {
            self.recommended.push(Noted { at: now, replicas: current });
        }
        let (min, max) = (self.rules.min_replicas, self.rules.max_replicas);
        let (desired, proposals) = if current > max {
            (max, Vec::new())
        } else if current < min {
            (min, Vec::new())
        } else {
            let proposals = self.proposals(current, readings);
            let desired = match agree(&proposals, current) {
                Some(recommendation) => {
                    let stable = self.stabilize(now, current, recommendation);
                    self.limit(now, current, stable)
                }
                None => current,
            };
            (desired, proposals)
        };
        self.note_change(now, current, desired);
        Decision { desired, proposals }
    }

    fn proposals(&self, current: u32, readings: &[Reading]) -> Vec<Option<u32>> {
        let propose = |(metric, reading): (&Metric, &Reading)| match (metric, reading) {
            (Metric::External { average, .. }, Reading::External(total)) => {
                total.map(|total| propose::external(&self.rules, total, *average, current))
            }
            (Metric::Cpu { percent }, Reading::Cpu { pods, request_milli }) => {
                propose::cpu(&self.rules, pods, *request_milli, *percent, current)
            }
            (Metric::External { .. }, Reading::Cpu { .. }) | (Metric::Cpu { .. }, Reading::External(_)) => {
                None
            }
        };
        self.rules.metrics.iter().zip(readings).map(propose).collect()
    }

    /// Limits the recommendation. Scaling up is limited to the lowest recommendation of its window, scaling
    /// down to the highest one of its window.
    fn stabilize(&mut self, now: Duration, current: u32, recommendation: u32) -> u32 {
        let (up, down) = (self.rules.up.window, self.rules.down.window);
        let within = |window: Duration| move |noted: &&Noted| is_within(noted, now, window);
        let replicas = |noted: &Noted| noted.replicas;
        let lowest = self.recommended.iter().filter(within(up)).map(replicas).fold(recommendation, u32::min);
        let highest =
            self.recommended.iter().filter(within(down)).map(replicas).fold(recommendation, u32::max);
        self.recommended.retain(|noted| is_within(noted, now, up.max(down)));
        self.recommended.push(Noted { at: now, replicas: recommendation });
        current.max(lowest).min(highest)
    }

    /// Limits the change to what the policies, the minimum and the maximum allow.
    fn limit(&self, now: Duration, current: u32, wanted: u32) -> u32 {
        if wanted > current {
            let allowed = self.policy_limit(now, current, &self.rules.up, 1.0).max(current);
            wanted.min(allowed.min(self.rules.max_replicas))
        } else if wanted < current {
            let allowed = self.policy_limit(now, current, &self.rules.down, -1.0).min(current);
            wanted.max(allowed.max(self.rules.min_replicas))
        } else {
            current
        }
    }

    /// The number of replicas that the policies of one direction allow at most. `sign` is 1 for up, -1 for
    /// down.
    fn policy_limit(&self, now: Duration, current: u32, scaling: &Scaling, sign: f64) -> u32 {
        let limits = scaling.policies.iter().map(|policy| {
            let changed = |noted: &[Noted]| -> u32 {
                noted
                    .iter()
                    .filter(|noted| is_within(noted, now, policy.period))
                    .map(|noted| noted.replicas)
                    .sum()
            };
            let start = (current + changed(&self.removed)).saturating_sub(changed(&self.added));
            let furthest = match policy.limit {
                Limit::Pods(pods) => f64::from(start) + sign * f64::from(pods),
                Limit::Percent(percent) => f64::from(start) * (1.0 + sign * f64::from(percent) / 100.0),
            };
            // Rounds away from the current number, so that a small number of replicas can change by one.
            if sign > 0.0 { propose::ceil(furthest) } else { propose::floor(furthest) }
        });
        let limit = match (scaling.select, sign > 0.0) {
            (Select::Disabled, _) => None,
            (Select::Max, true) | (Select::Min, false) => limits.max(),
            (Select::Max, false) | (Select::Min, true) => limits.min(),
        };
        limit.unwrap_or(current)
    }

    fn note_change(&mut self, now: Duration, current: u32, desired: u32) {
        // Each direction reads both lists, so both must cover the longest period of either direction.
        let policies = self.rules.up.policies.iter().chain(&self.rules.down.policies);
        let longest = policies.map(|policy| policy.period).max().unwrap_or_default();
        let noted = match desired.cmp(&current) {
            Ordering::Greater => &mut self.added,
            Ordering::Less => &mut self.removed,
            Ordering::Equal => return,
        };
        noted.retain(|noted| is_within(noted, now, longest));
        noted.push(Noted { at: now, replicas: desired.abs_diff(current) });
    }
}

/// The highest proposal. `None` if there is no proposal, or if a metric is unavailable and the others propose
/// fewer replicas than now.
fn agree(proposals: &[Option<u32>], current: u32) -> Option<u32> {
    let highest = proposals.iter().flatten().copied().max()?;
    let all = proposals.iter().all(Option::is_some);
    (all || highest >= current).then_some(highest)
}

fn is_within(noted: &Noted, now: Duration, window: Duration) -> bool {
    now.saturating_sub(noted.at) < window
}

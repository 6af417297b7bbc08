//! The specification of a HorizontalPodAutoscaler.

use std::time::Duration;

/// An HPA of autoscaling/v2 without its scale target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) min_replicas: u32,
    pub(crate) max_replicas: u32,
    /// Each metric proposes a number of replicas. The highest one is used.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) up: Scaling,
    pub(crate) down: Scaling,
}

/// A metric with its target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Metric {
    /// External with an AverageValue, in the metric's unit.
    External { name: String, average: f64 },
    /// ContainerResource cpu with an average Utilization, percent of the request.
    Cpu { percent: u32 },
}

/// One direction of `behavior`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling {
    /// The stabilization window. Scaling up uses its lowest recommendation, scaling down its highest.
    pub(crate) window: Duration,
    pub(crate) select: Select,
    pub(crate) policies: Vec<Policy>,
    /// How far usage may deviate from the target, as a fraction of the target, without a change.
    pub(crate) tolerance: f64,
}

/// How several policies are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// No change in this direction.
    Disabled,
}

/// The largest change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) limit: Limit,
    pub(crate) period: Duration,
}

/// The change that a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Pods(u32),
    /// Of the replicas at the start of the period.
    Percent(u32),
}

impl Rules {
    /// Whether the ratio of usage to target is within both tolerances. The comparison is that of Kubernetes
    /// 1.33 and newer. In older versions a ratio of exactly 1.1 exceeds a tolerance of 0.1 because of
    /// rounding.
    pub(super) fn is_tolerable(&self, ratio: f64) -> bool {
        1.0 - self.down.tolerance <= ratio && ratio <= 1.0 + self.up.tolerance
    }

    /// Divides every window and period by `speed`.
    pub(crate) fn compressed(mut self, speed: f64) -> Self {
        for scaling in [&mut self.up, &mut self.down] {
            scaling.window = scaling.window.div_f64(speed);
            for policy in &mut scaling.policies {
                policy.period = policy.period.div_f64(speed);
            }
        }
        self
    }
}

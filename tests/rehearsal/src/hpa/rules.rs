//! What a HorizontalPodAutoscaler says.

use std::time::Duration;

/// An HPA of autoscaling/v2, apart from whom it scales.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) min_replicas: u32,
    pub(crate) max_replicas: u32,
    /// Each proposes a number; the highest wins.
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
    /// Going up, the lowest recommendation of this window counts; going down, the highest.
    pub(crate) window: Duration,
    pub(crate) select: Select,
    pub(crate) policies: Vec<Policy>,
    /// How far usage may be from its target, as a fraction of it, before anything changes.
    pub(crate) tolerance: f64,
}

/// Which of several policies counts.
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

/// How much a policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Pods(u32),
    /// Of the replicas at the period's start.
    Percent(u32),
}

impl Rules {
    /// What a ratio of usage to target may be without any change: one direction's tolerance on either side. Compared as
    /// by Kubernetes 1.33 and newer; to older versions, by rounding, exactly 1.1 is more than a tenth too much.
    pub(super) fn is_tolerable(&self, ratio: f64) -> bool {
        1.0 - self.down.tolerance <= ratio && ratio <= 1.0 + self.up.tolerance
    }

    /// Every window and period divided by `speed`.
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

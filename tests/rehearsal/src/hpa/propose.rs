//! Computes how many replicas one metric proposes.

use super::rules::Rules;

/// One replica in the resource metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Thousandths of a core, or `None` if there is no sample.
    pub(crate) used_milli: Option<u32>,
    /// Whether the sample counts. Samples from a replica's start or from an unready replica do not.
    pub(crate) settled: bool,
}

/// The proposal of an External metric with an AverageValue. `total` is the sum of its series.
pub(super) fn external(rules: &Rules, total: f64, average: f64, current: u32) -> u32 {
    let ratio = total / (average * f64::from(current));
    if rules.is_tolerable(ratio) { current } else { ceil(total / average) }
}

/// The proposal of ContainerResource cpu, or `None` if no settled replica has a sample. Replicas that lack a
/// sample or are starting reduce the change: both count as idle if the others would scale up; those without a
/// sample count as fully used if the others would scale down.
pub(super) fn cpu(rules: &Rules, pods: &[Pod], request_milli: u32, target: u32, current: u32) -> Option<u32> {
    let mut used: Vec<u32> = pods.iter().filter(|pod| pod.settled).filter_map(|pod| pod.used_milli).collect();
    let missing = pods.iter().filter(|pod| pod.used_milli.is_none()).count();
    let unready = pods.iter().filter(|pod| pod.used_milli.is_some() && !pod.settled).count();
    if used.is_empty() {
        return None;
    }
    let ratio = utilization(&used, request_milli) / f64::from(target);
    let rises_with_unready = unready > 0 && ratio > 1.0;
    if !rises_with_unready && missing == 0 {
        let settled = count(used.len());
        return Some(if rules.is_tolerable(ratio) { current } else { ceil(ratio * f64::from(settled)) });
    }
    if ratio < 1.0 {
        used.extend(std::iter::repeat_n(request_milli * target.max(100) / 100, missing));
    } else if ratio > 1.0 {
        used.extend(std::iter::repeat_n(0, missing));
    }
    if rises_with_unready {
        used.extend(std::iter::repeat_n(0, unready));
    }
    let damped = utilization(&used, request_milli) / f64::from(target);
    let turns = (ratio < 1.0 && damped > 1.0) || (ratio > 1.0 && damped < 1.0);
    if rules.is_tolerable(damped) || turns {
        return Some(current);
    }
    let proposal = ceil(damped * f64::from(count(used.len())));
    let contradicts = (damped < 1.0 && proposal > current) || (damped > 1.0 && proposal < current);
    Some(if contradicts { current } else { proposal })
}

/// The average in percent of the request, truncated to an integer as the controller does.
fn utilization(used: &[u32], request_milli: u32) -> f64 {
    let total: u64 = used.iter().copied().map(u64::from).sum();
    let requested = u64::from(request_milli) * u64::from(count(used.len()));
    let percent = total * 100 / requested.max(1);
    f64::from(u32::try_from(percent).unwrap_or(u32::MAX))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Rounds up. Values outside of the range saturate.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is intended")]
pub(super) fn ceil(replicas: f64) -> u32 {
    replicas.ceil() as u32
}

/// Rounds down. Values outside of the range saturate.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is intended")]
pub(super) fn floor(replicas: f64) -> u32 {
    replicas as u32
}

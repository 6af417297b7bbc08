//! Computes in advance how long the system should need for the bomb.

use std::time::Duration;

use super::hpa::{Controller, Metric, Reading};
use super::plan::Plan;

/// How long a new replica may need to start working.
const START: Duration = Duration::from_secs(3);

/// A margin for what the computation ignores: batches differ in size, and rate limits are not synchronized.
const MARGIN: f64 = 1.3;

/// A number of replicas, and when they start working, counted from the bomb's first byte.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    at: Duration,
    replicas: u32,
}

/// The forecast and how it was computed.
#[derive(Clone, Debug)]
pub(super) struct Forecast {
    /// The size of the bomb.
    pub(super) bytes: f64,
    /// The deadline for an empty backlog, counted from the bomb's first byte.
    pub(super) within: Duration,
    /// The computation, to be printed.
    pub(super) arithmetic: String,
}

impl Forecast {
    /// Computes the forecast from the bomb's bytes, mu, the bounds of the replicas and the scale-up policies.
    /// The steps come from the controller itself. `background` is the other load, bytes a second.
    pub(super) fn new(plan: &Plan, background: f64) -> Self {
        let bytes = plan.event_bytes * count(plan.choice.bomb_events);
        let steps = steps(plan);
        let drained = drained(&steps, bytes, plan.mu, background);
        // The last batches were claimed earlier. Each replica still works on all that it has in flight.
        let tail = Duration::from_secs_f64(2.0 * plan.batch_max_bytes / plan.mu);
        let sum = drained + tail;
        let within = sum.mul_f64(MARGIN);
        let ramp: Vec<String> = steps
            .iter()
            .map(|step| format!("{} from {:.1} s", step.replicas, step.at.as_secs_f64()))
            .collect();
        let arithmetic = format!(
            "Forecast of the bomb: {events} events × {event_bytes:.0} bytes = {megabytes:.1} MB. Replicas, by the policies \
             for scaling up, at most {max}: {ramp} (status {status:.1} s, scrape {scrape:.1} s, sync {sync:.1} s, start {start} s). \
             Each stores mu = {mu:.2} MB/s, and the steady load takes {background:.2} MB/s of the total: drained after \
             {drained:.1} s; batches claimed earlier need 2 × {batch:.2} MB / mu = {tail:.1} s; together {sum:.1} s, times {margin} \
             for uneven batches: the backlog is empty within {within:.1} s.",
            events = plan.choice.bomb_events,
            event_bytes = plan.event_bytes,
            megabytes = bytes / 1e6,
            max = plan.rules().max_replicas,
            ramp = ramp.join(", "),
            status = plan.status_interval.as_secs_f64(),
            scrape = plan.scrape.as_secs_f64(),
            sync = plan.sync.as_secs_f64(),
            start = START.as_secs(),
            mu = plan.mu / 1e6,
            background = background / 1e6,
            drained = drained.as_secs_f64(),
            batch = plan.batch_max_bytes / 1e6,
            tail = tail.as_secs_f64(),
            sum = sum.as_secs_f64(),
            margin = MARGIN,
            within = within.as_secs_f64(),
        );
        Self { bytes, within, arithmetic }
    }
}

/// The steps of the controller if the backlog never ends, starting at the minimum of replicas.
fn steps(plan: &Plan) -> Vec<Step> {
    let rules = plan.rules();
    let readings: Vec<Reading> = rules
        .metrics
        .iter()
        .map(|metric| match metric {
            Metric::External { .. } => Reading::External(Some(f64::MAX / 1e9)),
            Metric::Cpu { .. } => Reading::Cpu { pods: Vec::new(), request_milli: 1 },
        })
        .collect();
    let mut controller = Controller::new(rules.clone());
    let mut replicas = rules.min_replicas;
    let mut steps = vec![Step { at: Duration::ZERO, replicas }];
    // The backlog reaches the metrics after a status interval and a scrape. The next sync sees it.
    let mut pass = plan.status_interval + plan.scrape + plan.sync;
    while replicas < rules.max_replicas {
        let desired = controller.decide(pass, replicas, &readings).desired;
        if desired > replicas {
            replicas = desired;
            steps.push(Step { at: pass + START, replicas });
        } else if steps.len() > 1 && pass > Duration::from_hours(1) {
            break;
        }
        pass += plan.sync;
    }
    steps
}

/// When `bytes` are stored, or never if more comes in than the replicas store.
fn drained(steps: &[Step], bytes: f64, mu: f64, background: f64) -> Duration {
    let mut left = bytes;
    for (index, step) in steps.iter().enumerate() {
        let speed = (f64::from(step.replicas) * mu - background).max(f64::MIN_POSITIVE);
        let seconds = left / speed;
        match steps.get(index + 1) {
            Some(next) if step.at.as_secs_f64() + seconds > next.at.as_secs_f64() => {
                left -= speed * (next.at.saturating_sub(step.at)).as_secs_f64();
            }
            Some(_) | None => {
                return Duration::try_from_secs_f64(step.at.as_secs_f64() + seconds)
                    .unwrap_or(Duration::MAX / 4);
            }
        }
    }
    Duration::ZERO
}

/// Exact for all realistic sizes.
#[expect(clippy::cast_precision_loss)]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Forecast, Step, drained, steps};
    use crate::plan::{Choice, sample};

    fn step(seconds: f64, replicas: u32) -> Step {
        Step { at: Duration::from_secs_f64(seconds), replicas }
    }

    #[test]
    fn each_step_stores_until_the_next() {
        let steps = [step(0.0, 3), step(10.0, 7), step(20.0, 12)];
        // 10 s × 3 + 10 s × 7 = 100; 12 replicas store the other 120.
        assert_eq!(drained(&steps, 220.0, 1.0, 0.0), Duration::from_secs(30));
        assert_eq!(drained(&steps, 15.0, 1.0, 0.0), Duration::from_secs(5));
        // One a second comes in: 20 + 60 in the first two steps, then 11 a second.
        assert_eq!(drained(&steps, 190.0, 1.0, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn the_steps_are_the_policies() {
        let plan = sample(Choice {
            speed: 5.0,
            events_per_second: 2_000,
            bomb_events: 1,
            replicas: None,
            cpu_factor: 1,
        });
        // 0.4 s + 2 s + 3 s until the first sync sees it, 3 s to start. The next sync is 3 s later.
        assert_eq!(steps(&plan), [step(0.0, 3), step(8.4, 7), step(11.4, 12)]);
    }

    #[test]
    fn the_arithmetic_is_told() {
        let choice = Choice {
            speed: 5.0,
            events_per_second: 2_000,
            bomb_events: 1_800_000,
            replicas: None,
            cpu_factor: 1,
        };
        let forecast = Forecast::new(&sample(choice), 0.0);
        // 12 replicas with 2,000 a second need 75 s; scaling up takes longer.
        let seconds = forecast.within.as_secs_f64() / 1.3;
        assert!((75.0..90.0).contains(&seconds), "{seconds}");
        assert!(forecast.arithmetic.contains("1800000 events"), "{}", forecast.arithmetic);
    }
}

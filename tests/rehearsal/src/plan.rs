//! The numbers of the rehearsal: which times are compressed, what is scaled down, and how much load comes
//! when.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::hpa::{Metric, Rules};
use super::manifest::{Probe, Workload};
use super::wire;
use crate::refuse::refuse;
use fleet_harness::Failure;

/// `--horizontal-pod-autoscaler-sync-period` of kube-controller-manager.
const SYNC: Duration = Duration::from_secs(15);

/// The PodMonitor's interval.
const SCRAPE: Duration = Duration::from_secs(10);

/// The range of the rate in the query for accepted bytes.
const RATE_WINDOW: Duration = Duration::from_secs(30);

/// `--metric-resolution` of metrics-server: the period of a CPU sample.
const CPU_RESOLUTION: Duration = Duration::from_secs(15);

/// `--horizontal-pod-autoscaler-cpu-initialization-period` of kube-controller-manager.
const CPU_INITIALIZATION: Duration = Duration::from_mins(5);

/// The manifest's target for the backlog is what one replica stores in this time.
const BACKLOG_TARGET: Duration = Duration::from_secs(30);

/// The target for the accepted rate as a fraction of mu. Below this range replicas idle; above it they never
/// catch up.
const RATE_TARGET: RangeInclusive<f64> = 0.5..=0.95;

/// The consumer's own defaults that must be compressed too.
const LEASE: Duration = Duration::from_secs(30);
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// Less than the default, and as much as the default of one claim.
const BATCH_MAX_BYTES: f64 = 4_194_304.0;

/// The lower limits, whatever the compression. With shorter times a busy machine would let leases of live
/// consumers expire, fail the probes of live consumers, or spend all its time on reading the queues' state.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
const SHORTEST_STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// The metric whose target is what one replica stores in [`BACKLOG_TARGET`].
pub(super) const BACKLOG: &str = "fleet_queue_backlog_bytes";

/// The metric that is the rate of accepted bytes.
pub(super) const ACCEPTED: &str = "fleet_queue_accepted_bytes_per_second";

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) speed: f64,
    /// The rate limit of each consumer.
    pub(super) events_per_second: u32,
    pub(super) bomb_events: u64,
    /// Replaces the manifest's bounds of the replicas.
    pub(super) replicas: Option<(u32, u32)>,
    /// Multiplies the manifest's CPU request, which is meant for release builds on an uncompressed day.
    pub(super) cpu_factor: u32,
}

/// All numbers of a run. Times are wall clock, already compressed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) choice: Choice,
    pub(super) workload: Workload,
    /// The size of an event in the queue, bytes.
    pub(super) event_bytes: f64,
    /// The bytes a second that one replica stores.
    pub(super) mu: f64,
    /// The mu that the manifest's targets were computed from.
    pub(super) manifest_mu: f64,
    pub(super) sync: Duration,
    pub(super) scrape: Duration,
    pub(super) rate_window: Duration,
    pub(super) cpu_resolution: Duration,
    pub(super) cpu_initialization: Duration,
    pub(super) lease: Duration,
    pub(super) status_interval: Duration,
    pub(super) batch_max_bytes: f64,
}

impl Plan {
    /// Compresses every time by `speed` and scales the targets to what a replica can do here. Fails if the
    /// HPA lacks one of the two queue metrics, or if their targets imply different values of mu.
    pub(super) fn new(choice: Choice, workload: &Workload) -> Result<Self, Failure> {
        let speed = choice.speed;
        let compressed = |time: Duration| time.div_f64(speed);
        let probe = |probe: Probe| Probe {
            period: compressed(probe.period),
            timeout: compressed(probe.timeout).max(SHORTEST_TIMEOUT),
            ..probe
        };
        let event_bytes = wire::event_bytes();
        let mu = f64::from(choice.events_per_second) * event_bytes;
        let manifest_mu = manifest_mu(&workload.rules)?;
        let mut rules = workload.rules.clone().compressed(speed);
        if let Some((min, max)) = choice.replicas {
            (rules.min_replicas, rules.max_replicas) = (min, max);
        }
        for metric in &mut rules.metrics {
            if let Metric::External { name, average } = metric {
                *average *= mu / manifest_mu;
                if name == BACKLOG {
                    *average /= speed;
                }
            }
        }
        Ok(Self {
            choice,
            event_bytes,
            mu,
            manifest_mu,
            sync: compressed(SYNC),
            scrape: compressed(SCRAPE),
            rate_window: compressed(RATE_WINDOW),
            cpu_resolution: compressed(CPU_RESOLUTION),
            cpu_initialization: compressed(CPU_INITIALIZATION),
            lease: compressed(LEASE).max(SHORTEST_LEASE),
            status_interval: compressed(STATUS_INTERVAL).max(SHORTEST_STATUS_INTERVAL),
            batch_max_bytes: BATCH_MAX_BYTES / speed,
            workload: Workload {
                rules,
                cpu_request_milli: workload.cpu_request_milli * choice.cpu_factor,
                liveness: probe(workload.liveness),
                readiness: probe(workload.readiness),
                grace: compressed(workload.grace),
            },
        })
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.workload.rules
    }

    /// A metric's target, in bytes or bytes a second.
    pub(super) fn target(&self, metric: &str) -> f64 {
        average(self.rules(), metric).unwrap_or(f64::INFINITY)
    }

    /// Converts seconds of the real day to seconds of this run.
    pub(super) fn day_seconds(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).div_f64(self.choice.speed)
    }

    /// The events a second for which the accepted rate asks for just under `replicas`.
    pub(super) fn load_for(&self, replicas: f64) -> f64 {
        self.target(ACCEPTED) * replicas / self.event_bytes
    }

    /// A fifth of what the minimum of replicas can store.
    pub(super) fn night(&self) -> f64 {
        0.2 * self.mu * f64::from(self.rules().min_replicas) / self.event_bytes
    }

    /// Asks for a third of the way from the minimum to the maximum of replicas.
    pub(super) fn rush_hour(&self) -> f64 {
        let (min, max) = (self.rules().min_replicas, self.rules().max_replicas);
        self.load_for((f64::from(max - min) / 3.0).ceil() + f64::from(min) - 0.3)
    }

    /// Asks for the maximum of replicas, which can store it.
    pub(super) fn peak(&self) -> f64 {
        self.load_for(f64::from(self.rules().max_replicas) - 0.3)
    }

    /// The events that keep so many replicas busy for three seconds.
    pub(super) fn burst(&self, replicas: u32) -> u64 {
        3 * u64::from(replicas) * u64::from(self.choice.events_per_second)
    }

    /// Describes what is scaled and what is not, to be printed.
    pub(super) fn describe(&self) -> String {
        let Self { choice, mu, manifest_mu, event_bytes, .. } = self;
        let rules = self.rules();
        let seconds = Duration::as_secs_f64;
        let metrics: Vec<&str> = rules
            .metrics
            .iter()
            .map(|metric| match metric {
                Metric::External { name, .. } => name.as_str(),
                Metric::Cpu { .. } => "cpu",
            })
            .collect();
        format!(
            "Every period and window of the HPA, the metrics and the kubelet is divided by {speed}: sync {sync:.2} s, scrape \
             {scrape:.2} s, rate over {rate:.2} s, CPU over {cpu:.2} s, scale-down window {window:.1} s, liveness every \
             {liveness:.2} s, grace {grace:.1} s. With lower limits: lease {lease:.1} s, probe timeout {timeout:.1} s.\n\
             Rates and ages are in wall clock time.\n\
             One replica is limited to {limit} events/s of {event_bytes:.0} bytes: mu = {mu:.2} MB/s. The manifest's targets are \
             for mu = {manifest_mu:.2} MB/s and are scaled by {factor:.3}; the backlog's, which is {target} s × mu, is divided by \
             {speed} as well. Targets: backlog {backlog:.2} MB, accepted {accepted:.3} MB/s a replica. CPU is not scaled.\n\
             Replicas {min} to {max}, scaled by {metrics}.\n",
            speed = choice.speed,
            sync = seconds(&self.sync),
            scrape = seconds(&self.scrape),
            rate = seconds(&self.rate_window),
            cpu = seconds(&self.cpu_resolution),
            window = seconds(&rules.down.window),
            liveness = seconds(&self.workload.liveness.period),
            grace = seconds(&self.workload.grace),
            lease = seconds(&self.lease),
            timeout = seconds(&self.workload.liveness.timeout),
            limit = choice.events_per_second,
            mu = mu / 1e6,
            manifest_mu = manifest_mu / 1e6,
            factor = mu / manifest_mu,
            target = BACKLOG_TARGET.as_secs(),
            backlog = self.target(BACKLOG) / 1e6,
            accepted = self.target(ACCEPTED) / 1e6,
            min = rules.min_replicas,
            max = rules.max_replicas,
            metrics = metrics.join(", "),
        )
    }
}

/// The mu that the targets were computed from. The backlog's target is [`BACKLOG_TARGET`] × mu, the rate's
/// target a fraction of mu.
fn manifest_mu(rules: &Rules) -> Result<f64, Failure> {
    let target =
        |name| average(rules, name).ok_or_else(|| refuse(format!("the HPA has no External metric {name}")));
    let mu = target(BACKLOG)? / BACKLOG_TARGET.as_secs_f64();
    let part = target(ACCEPTED)? / mu;
    if RATE_TARGET.contains(&part) {
        return Ok(mu);
    }
    Err(refuse(format!(
        "the HPA's target for {BACKLOG} is 30 s of {:.2} MB/s; the target for {ACCEPTED} is {part:.2} times that rate and must be {} to {} \
         times it",
        mu / 1e6,
        RATE_TARGET.start(),
        RATE_TARGET.end()
    )))
}

fn average(rules: &Rules, wanted: &str) -> Option<f64> {
    rules.metrics.iter().find_map(|metric| match metric {
        Metric::External { name, average } if name == wanted => Some(*average),
        Metric::External { .. } | Metric::Cpu { .. } => None,
    })
}

/// Creates plans for tests.
#[cfg(test)]
pub(super) fn sample(choice: Choice) -> Plan {
    let rendered = include_str!("../tests/fixtures/production.yaml");
    Plan::new(choice, &super::manifest::read(rendered).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ACCEPTED, BACKLOG, Choice, Plan, sample};
    use crate::manifest::read;

    #[test]
    fn targets_follow_mu_and_the_backlogs_follows_time() {
        let plan = sample(Choice {
            speed: 5.0,
            events_per_second: 2_000,
            bomb_events: 1,
            replicas: None,
            cpu_factor: 1,
        });
        assert!((plan.manifest_mu - 2.5e6).abs() < 1.0);
        assert!((plan.target(BACKLOG) - 6.0 * plan.mu).abs() < 1.0);
        assert!((plan.target(ACCEPTED) - 0.7 * plan.mu).abs() < 1.0);
        assert_eq!(plan.rules().down.window, Duration::from_mins(1));
        assert_eq!(plan.workload.liveness.period, Duration::from_secs(2));
    }

    #[test]
    fn targets_of_different_mus_are_refused() {
        let rendered = include_str!("../tests/fixtures/production.yaml");
        let choice =
            Choice { speed: 5.0, events_per_second: 2_000, bomb_events: 1, replicas: None, cpu_factor: 1 };
        let refused = |yaml: &str| Plan::new(choice, &read(yaml).unwrap()).unwrap_err().to_string();
        assert!(refused(&rendered.replace("75M", "750M")).contains("0.07 times that rate"));
        assert!(
            refused(&rendered.replace(BACKLOG, "other"))
                .contains("no External metric fleet_queue_backlog_bytes")
        );
    }

    #[test]
    fn loads_ask_for_what_they_are_meant_to() {
        let plan = sample(Choice {
            speed: 40.0,
            events_per_second: 500,
            bomb_events: 1,
            replicas: Some((1, 4)),
            cpu_factor: 1,
        });
        let asks_for = |events: f64| (events * plan.event_bytes / plan.target(ACCEPTED)).ceil();
        assert_eq!(
            [asks_for(plan.night()), asks_for(plan.rush_hour()), asks_for(plan.peak())],
            [1.0, 2.0, 4.0]
        );
    }
}

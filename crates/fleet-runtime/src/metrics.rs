//! Metrics that every binary has: what it is, what its process uses, whether its tasks make progress.

use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::liveness::Liveness;

const BUILD_INFO: &str = "fleet_runtime_build_info";
const WORKERS: &str = "fleet_runtime_workers";
const ALIVE_TASKS: &str = "fleet_runtime_alive_tasks";
const RUN_QUEUE: &str = "fleet_runtime_queued_tasks";
const SILENCE: &str = "fleet_runtime_task_silence_seconds";

/// Upper bounds of the buckets of one histogram.
pub type Buckets = (&'static str, &'static [f64]);

/// Renders this process' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    recorder: PrometheusHandle,
    process: Collector,
}

/// Starts collecting metrics in this process, which runs `program`; every histogram needs `buckets`.
///
/// # Errors
///
/// If metrics are collected already.
pub fn collect_metrics(program: &'static str, buckets: &[Buckets]) -> Result<Metrics, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in buckets {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
    }
    let recorder = builder.install_recorder()?;
    let process = Collector::default();
    process.describe();
    describe_gauge!(
        BUILD_INFO,
        "Always 1; which program this is, its version, and the commit it was built from"
    );
    describe_gauge!(WORKERS, "Threads of the runtime");
    describe_gauge!(ALIVE_TASKS, "Tasks of the runtime that have not ended");
    describe_gauge!(RUN_QUEUE, "Tasks that are ready to run and belong to no thread yet");
    describe_gauge!(SILENCE, Unit::Seconds, "For how long the most silent watched task has made no progress");
    let commit = option_env!("GIT_COMMIT").unwrap_or("unknown");
    gauge!(BUILD_INFO, "program" => program, "version" => env!("CARGO_PKG_VERSION"), "commit" => commit)
        .set(1);
    Ok(Metrics { recorder, process })
}

impl Metrics {
    /// Prometheus' text format.
    pub(crate) fn render(&self, liveness: &Liveness) -> String {
        self.process.collect();
        let runtime = tokio::runtime::Handle::current().metrics();
        let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        gauge!(WORKERS).set(float(runtime.num_workers()));
        gauge!(ALIVE_TASKS).set(float(runtime.num_alive_tasks()));
        gauge!(RUN_QUEUE).set(float(runtime.global_queue_depth()));
        gauge!(SILENCE).set(liveness.longest_silence());
        self.recorder.render()
    }

    /// Sums up what histograms have collected, which they keep until somebody does.
    pub(crate) fn drain(&self) {
        self.recorder.run_upkeep();
    }
}

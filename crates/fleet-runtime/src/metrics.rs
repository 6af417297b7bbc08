//! The metrics of every service: its version, its process, and whether its tasks make progress.

pub(crate) mod redis_links;

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::runtime::{Handle, RuntimeMetrics};

use crate::http::Cause;
use crate::readiness::{Readiness, State};
use crate::stderr::{self, Dropped};

const BUILD_INFO: &str = "fleet_runtime_build_info";
const READY: &str = "fleet_runtime_ready";
const WORKERS: &str = "fleet_runtime_workers";
const ALIVE_TASKS: &str = "fleet_runtime_alive_tasks";
const TIMER_LAG: &str = "fleet_runtime_timer_lag_seconds";
const SILENCE: &str = "fleet_runtime_task_silence_seconds";
const CONNECTIONS: &str = "fleet_runtime_connections";
const CONNECTIONS_CLOSED: &str = "fleet_runtime_connections_closed_total";
const LINES_DROPPED: &str = "fleet_runtime_log_lines_dropped_total";

/// tokio's timers have a resolution of 1 ms.
const LAG_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Upper bounds of the buckets of one histogram.
pub type Buckets = (&'static str, &'static [f64]);

/// Renders this process' metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    program: &'static str,
    recorder: PrometheusHandle,
    process: Collector,
    runtime: RuntimeMetrics,
}

/// Starts to collect the metrics of this process, which runs `program`. `buckets` must name every histogram.
///
/// # Errors
///
/// If this process collects metrics already.
///
/// # Panics
///
/// Outside the runtime that does the work.
pub fn collect_metrics(program: &'static str, buckets: &[Buckets]) -> Result<Metrics, BuildError> {
    let mut builder = PrometheusBuilder::new();
    let own = (TIMER_LAG, LAG_BUCKETS.as_slice());
    for (name, bounds) in buckets.iter().chain([&own]) {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)?;
    }
    let recorder = builder.install_recorder()?;
    let process = Collector::default();
    process.describe();
    describe_gauge!(
        BUILD_INFO,
        "Always 1; the labels are the program, its version, and the commit it was built from"
    );
    describe_gauge!(READY, "1 while the program is ready, as /readyz says");
    describe_gauge!(WORKERS, "Threads of the runtime");
    describe_gauge!(ALIVE_TASKS, "Tasks of the runtime that have not ended");
    describe_histogram!(
        TIMER_LAG,
        Unit::Seconds,
        "How late a timer fires, measured every second: how long a task waits for its thread"
    );
    describe_gauge!(SILENCE, Unit::Seconds, "Longest time that any watched task has made no progress");
    describe_gauge!(
        CONNECTIONS,
        "Open connections, by listener and whether they have brought an authenticated request"
    );
    describe_counter!(
        CONNECTIONS_CLOSED,
        "Connections without an authenticated request that were closed to make room, by listener and reason"
    );
    describe_counter!(
        LINES_DROPPED,
        "Log lines that were dropped, by reason: the buffer for standard error was full, or writing failed"
    );
    redis_links::describe();
    let _shown = histogram!(TIMER_LAG);
    let commit = option_env!("GIT_COMMIT").unwrap_or("unknown");
    gauge!(BUILD_INFO, "program" => program, "version" => env!("CARGO_PKG_VERSION"), "commit" => commit)
        .set(1);
    Ok(Metrics { program, recorder, process, runtime: Handle::current().metrics() })
}

impl Metrics {
    /// Prometheus' text format.
    pub(crate) fn render(&self, readiness: &Readiness) -> String {
        self.process.collect();
        gauge!(READY, "program" => self.program).set(u8::from(readiness.state() == State::Ready));
        gauge!(WORKERS).set(float(self.runtime.num_workers()));
        gauge!(ALIVE_TASKS).set(float(self.runtime.num_alive_tasks()));
        gauge!(SILENCE).set(readiness.liveness().longest_silence());
        let Dropped { buffer_full, write_failed } = stderr::dropped();
        counter!(LINES_DROPPED, "reason" => "buffer_full").absolute(buffer_full);
        counter!(LINES_DROPPED, "reason" => "write_failed").absolute(write_failed);
        self.recorder.render()
    }

    /// Sums up the samples of the histograms, which keep them until then.
    pub(crate) fn drain(&self) {
        self.recorder.run_upkeep();
    }
}

/// Records how late a timer of the working runtime was.
pub(crate) fn timer_lag(lag: Duration) {
    histogram!(TIMER_LAG).record(lag);
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Sets how many connections a listener has.
pub(crate) fn connections(listener: &'static str, open: usize, authenticated: usize) {
    gauge!(CONNECTIONS, "listener" => listener, "authenticated" => "yes").set(float(authenticated));
    gauge!(CONNECTIONS, "listener" => listener, "authenticated" => "no").set(float(open - authenticated));
}

/// Counts connections that were closed to make room.
pub(crate) fn connections_closed(listener: &'static str, cause: Cause, closed: u64) {
    counter!(CONNECTIONS_CLOSED, "listener" => listener, "reason" => cause.name()).increment(closed);
}

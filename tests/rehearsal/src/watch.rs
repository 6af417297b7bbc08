//! The kubelet's probes and the scrapes of one replica. Each has its own thread, so that a frozen replica
//! does not delay the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::series::Scrape;
use fleet_harness::http;

/// How often a replica that has not responded yet is probed.
const STARTING: Duration = Duration::from_millis(50);

/// The results of the probes and scrapes of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Whether `/livez` succeeded once.
    pub(super) has_started: bool,
    /// How often in a row `/livez` failed after that.
    pub(super) liveness_failures: u32,
    /// Since when the replica has been ready.
    pub(super) ready_since: Option<Instant>,
    /// The last successful scrape.
    pub(super) scrape: Option<Scrape>,
}

/// Probes and scrapes until dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Starts to probe and scrape the process with this admin port.
    pub(super) fn start(port: u16, plan: &Plan) -> Self {
        let watch = Self { seen: Arc::default(), stop: Arc::default() };
        let (liveness, readiness) = (plan.workload.liveness, plan.workload.readiness);
        watch.spawn(liveness.period, move |seen| {
            let is_alive = http::is_ok(port, "/livez", liveness.timeout);
            let mut seen = lock(seen);
            seen.has_started |= is_alive;
            seen.liveness_failures =
                if is_alive || !seen.has_started { 0 } else { seen.liveness_failures + 1 };
            seen.has_started
        });
        let mut failures = 0;
        watch.spawn(readiness.period, move |seen| {
            let is_ready = http::is_ok(port, "/readyz", readiness.timeout);
            failures = if is_ready { 0 } else { failures + 1 };
            let mut seen = lock(seen);
            if is_ready {
                seen.ready_since.get_or_insert_with(Instant::now);
            } else if failures >= readiness.failures {
                seen.ready_since = None;
            }
            seen.ready_since.is_some()
        });
        let timeout = plan.workload.liveness.timeout;
        watch.spawn(plan.scrape, move |seen| {
            let response = http::get(port, "/metrics", timeout);
            let scrape = response.ok().filter(|response| response.status == 200);
            let scrape = scrape.map(|response| Scrape::read(Instant::now(), &response.body));
            let mut seen = lock(seen);
            if scrape.is_some() {
                seen.scrape = scrape;
            }
            seen.scrape.is_some()
        });
        watch
    }

    /// The latest results.
    pub(super) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Runs `probe` every `period`, and more often until it has returned true.
    fn spawn(&self, period: Duration, mut probe: impl FnMut(&Mutex<Seen>) -> bool + Send + 'static) {
        let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let has_begun = probe(&seen);
                let pause = if has_begun { period } else { STARTING.min(period) };
                thread::sleep(pause.saturating_sub(begun.elapsed()));
            }
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

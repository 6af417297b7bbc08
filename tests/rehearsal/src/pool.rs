//! The Deployment: the wanted number of consumers, and what the kubelet does with each.

use std::time::{Duration, Instant};

use super::cpu::Meter;
use super::hpa::Pod;
use super::plan::Plan;
use super::series::Scrape;
use super::stage::Stage;
use super::watch::{Seen, Watch};
use crate::refuse::refuse;
use fleet_harness::{Failure, Program, log};

/// The deadline of the startup probe. Not compressed, because processes do not start faster.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// The consumer's log line about a lease takeover.
const TOOK_OVER: &str = "took a batch over";

/// A pod.
struct Replica {
    name: String,
    process: Program,
    watch: Watch,
    meter: Meter,
    /// When the pod was created, and when its container was last started.
    created: Instant,
    started: Instant,
    /// When SIGKILL is due, after SIGTERM because of a failed liveness probe.
    killed_at: Option<Instant>,
}

/// A restart by the kubelet.
#[derive(Clone, Debug)]
pub(super) struct Restart {
    pub(super) name: String,
}

/// All pods.
pub(super) struct Pool<'a> {
    stage: &'a Stage<'a>,
    plan: &'a Plan,
    replicas: Vec<Replica>,
    leaving: Vec<Program>,
    names: Vec<String>,
    /// How many of the stopped replicas ended with exit status 0.
    pub(super) graceful: usize,
    /// How many replicas got SIGTERM because of a scale-down.
    pub(super) asked_to_stop: usize,
    /// The containers that failed their liveness probe.
    pub(super) restarts: Vec<Restart>,
}

impl<'a> Pool<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, plan: &'a Plan) -> Self {
        Self {
            stage,
            plan,
            replicas: Vec::new(),
            leaving: Vec::new(),
            names: Vec::new(),
            graceful: 0,
            asked_to_stop: 0,
            restarts: Vec::new(),
        }
    }

    /// The number of replicas that are not terminating.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.replicas.len()).unwrap_or(u32::MAX)
    }

    /// How many of them are ready.
    pub(super) fn ready(&self) -> u32 {
        let ready = self.replicas.iter().filter(|replica| replica.watch.seen().ready_since.is_some()).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Starts or stops replicas. Stops unready ones first, then the youngest, as a ReplicaSet does.
    pub(super) fn scale_to(&mut self, replicas: u32) -> Result<(), Failure> {
        while self.len() < replicas {
            let name = format!("fleet-consumer-{}", self.names.len());
            let replica = self.start(&name)?;
            self.names.push(name);
            self.replicas.push(replica);
        }
        while self.len() > replicas {
            let unready =
                self.replicas.iter().rposition(|replica| replica.watch.seen().ready_since.is_none());
            self.stop(unready.unwrap_or(self.replicas.len() - 1))?;
        }
        Ok(())
    }

    /// Sends SIGTERM to the oldest replica, as a rollout or a node drain does. The next sync replaces it.
    pub(super) fn stop_oldest(&mut self) -> Result<(), Failure> {
        self.stop(0)
    }

    fn stop(&mut self, index: usize) -> Result<(), Failure> {
        let mut process = self.replicas.remove(index).process;
        process.ask_to_stop()?;
        self.asked_to_stop += 1;
        self.leaving.push(process);
        Ok(())
    }

    fn start(&self, name: &str) -> Result<Replica, Failure> {
        let process = self.stage.start_consumer(name)?;
        let watch = Watch::start(process.admin_port(), self.plan);
        let meter = Meter::new(process.pid());
        let now = Instant::now();
        Ok(Replica {
            name: name.to_owned(),
            process,
            watch,
            meter,
            created: now,
            started: now,
            killed_at: None,
        })
    }

    /// Does what the kubelet does: restarts a container whose liveness probe failed too often, and collects
    /// replicas that ended after a scale-down. Fails if a replica ends by itself or not gracefully.
    pub(super) fn reconcile(&mut self) -> Result<(), Failure> {
        for index in 0..self.replicas.len() {
            self.tend_one(index)?;
        }
        let mut index = 0;
        while let Some(process) = self.leaving.get_mut(index) {
            if process.has_stopped()? {
                self.graceful += 1;
                self.leaving.swap_remove(index);
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn tend_one(&mut self, index: usize) -> Result<(), Failure> {
        let Some(replica) = self.replicas.get_mut(index) else {
            return Ok(());
        };
        let now = Instant::now();
        let seen = replica.watch.seen();
        match replica.killed_at {
            None => {
                replica.process.check()?;
                if !seen.has_started && now.saturating_duration_since(replica.started) > STARTED_WITHIN {
                    return Err(refuse(format!("{} did not start in time", replica.name)));
                }
                if seen.liveness_failures >= self.plan.workload.liveness.failures {
                    replica.process.ask_to_stop()?;
                    replica.killed_at = Some(now + self.plan.workload.grace);
                    self.restarts.push(Restart { name: replica.name.clone() });
                }
            }
            Some(kill_at) if now >= kill_at => {
                let name = replica.name.clone();
                let fresh = self.start(&name)?;
                if let Some(replica) = self.replicas.get_mut(index) {
                    // Dropping the old process kills it if SIGTERM has not ended it.
                    *replica = Replica { created: replica.created, ..fresh };
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Freezes the first ready replica with SIGSTOP and returns its name.
    pub(super) fn freeze_one(&mut self) -> Result<String, Failure> {
        let ready = self.replicas.iter_mut().find(|replica| replica.watch.seen().ready_since.is_some());
        let replica = ready.ok_or_else(|| refuse("cannot freeze a replica, because none is ready"))?;
        replica.process.freeze()?;
        Ok(replica.name.clone())
    }

    /// Whether this replica is ready and none is being replaced.
    pub(super) fn is_back(&self, name: &str) -> bool {
        self.restarts.iter().any(|restart| restart.name == name)
            && self.replicas.iter().any(|replica| {
                replica.name == name
                    && replica.killed_at.is_none()
                    && replica.watch.seen().ready_since.is_some()
            })
    }

    /// The last scrape of each replica.
    pub(super) fn scrapes(&self) -> impl Iterator<Item = Scrape> {
        self.replicas.iter().filter_map(|replica| replica.watch.seen().scrape)
    }

    /// Samples the CPU of every replica, as metrics-server does.
    pub(super) fn sample_cpu(&mut self, now: Instant) {
        for replica in &mut self.replicas {
            replica.meter.read(now);
        }
    }

    /// The replicas as the resource metrics show them.
    pub(super) fn pods(&self, now: Instant) -> Vec<Pod> {
        let pod = |replica: &Replica| {
            let seen = replica.watch.seen();
            Pod {
                used_milli: replica.meter.sample().map(|sample| sample.milli),
                settled: self.is_settled(replica, &seen, now),
            }
        };
        self.replicas.iter().map(pod).collect()
    }

    /// Whether the controller uses the pod's sample. While a pod is young, the sample must begin after the
    /// pod got ready. Later, the pod must have been ready once.
    fn is_settled(&self, replica: &Replica, seen: &Seen, now: Instant) -> bool {
        let age = now.saturating_duration_since(replica.created);
        if age >= self.plan.cpu_initialization {
            return seen.ready_since.is_some() || seen.has_started;
        }
        seen.ready_since
            .zip(replica.meter.sample())
            .is_some_and(|(ready, sample)| sample.at >= ready + sample.window)
    }

    /// The total number of lease takeovers.
    pub(super) fn takeovers(&self) -> usize {
        let count = |name: &String| log::whole(self.stage.logs, name).matches(TOOK_OVER).count();
        self.names.iter().map(count).sum()
    }

    /// The consumers that panicked.
    pub(super) fn panicked(&self) -> Vec<&str> {
        let has_panicked = |name: &&String| log::whole(self.stage.logs, name).contains("panicked at");
        self.names.iter().filter(has_panicked).map(String::as_str).collect()
    }

    /// Whether a scale-down is still in progress.
    pub(super) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }
}

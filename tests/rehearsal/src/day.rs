//! Runs the day: the load, the replicas, the metrics and the controller.

use std::thread;
use std::time::{Duration, Instant};

use super::hpa::{Controller, Metric, Reading};
use super::load::Load;
use super::plan::{ACCEPTED, BACKLOG, Plan};
use super::pool::Pool;
use super::series::{Moment, Series};
use super::timeline::{Phase, Row, Timeline};
use crate::refuse::refuse;
use fleet_harness::{Failure, Interrupt, POLL, Program};

/// A scrape is used until this many later ones have failed.
const STALE_SCRAPES: u32 = 5;

/// Everything that runs during the day.
pub(super) struct Day<'a> {
    pub(super) plan: &'a Plan,
    pub(super) load: Load,
    pub(super) pool: Pool<'a>,
    pub(super) timeline: Timeline,
    interrupt: &'a Interrupt,
    api: &'a mut Program,
    controller: Controller,
    series: Series,
    /// While the metrics source is unavailable: a controller that still has the metrics, for comparison.
    informed: Option<Controller>,
    /// The fewest replicas that this controller wanted.
    pub(super) informed_wanted: Option<u32>,
    phase: Phase,
    began: Instant,
    next_scrape: Instant,
    next_sample: Instant,
    next_sync: Instant,
    /// The counters at the time of the last row.
    counted: Option<Moment>,
}

impl<'a> Day<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        load: Load,
        pool: Pool<'a>,
        api: &'a mut Program,
        interrupt: &'a Interrupt,
    ) -> Self {
        let now = Instant::now();
        Self {
            plan,
            load,
            pool,
            timeline: Timeline::new(plan.sync),
            interrupt,
            api,
            controller: Controller::new(plan.rules().clone()),
            series: Series::new(plan.rate_window),
            informed: None,
            informed_wanted: None,
            phase: Phase::Night,
            began: now,
            next_scrape: now,
            next_sample: now,
            next_sync: now,
            counted: None,
        }
    }

    /// Starts the minimum of replicas and waits until all are ready. Then the day begins.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        let min = self.plan.rules().min_replicas;
        self.pool.scale_to(min)?;
        while self.pool.ready() < min {
            self.interrupt.check()?;
            self.pool.reconcile()?;
            thread::sleep(POLL);
        }
        let now = Instant::now();
        (self.began, self.next_scrape, self.next_sample, self.next_sync) =
            (now, now, now, now + self.plan.sync);
        Ok(())
    }

    /// Continues a phase for this long.
    pub(super) fn spend(&mut self, phase: Phase, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        self.until(phase, time * 2, "the end of the phase", |_| Instant::now() >= end).map(drop)
    }

    /// Continues a phase until `holds` returns true, and returns how long that took. Fails after `within`.
    pub(super) fn until(
        &mut self,
        phase: Phase,
        within: Duration,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<Duration, Failure> {
        self.phase = phase;
        self.timeline.enter(phase, self.elapsed());
        let start = Instant::now();
        while !holds(self) {
            if start.elapsed() > within {
                return Err(refuse(format!(
                    "{}: timed out after {:.0} s while waiting for {what}; {} replicas, backlog {:.2} MB",
                    phase.label(),
                    within.as_secs_f64(),
                    self.pool.len(),
                    self.backlog_bytes() / 1e6
                )));
            }
            self.tick()?;
            thread::sleep(POLL);
        }
        Ok(start.elapsed())
    }

    /// From now on the External metrics are unavailable to the controller.
    pub(super) fn lose_source(&mut self) {
        self.informed = Some(self.controller.clone());
    }

    /// The External metrics are available again.
    pub(super) fn restore_source(&mut self) {
        self.informed = None;
    }

    /// Wall clock since the day began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The backlog at the last scrape.
    pub(super) fn backlog_bytes(&self) -> f64 {
        self.series.last().map_or(0.0, Moment::backlog_bytes)
    }

    /// The total of accepted bytes at the last scrape.
    pub(super) fn accepted_bytes(&self) -> f64 {
        self.series.last().map_or(0.0, Moment::accepted_bytes)
    }

    /// Stops every replica as a scale-down does, then the API.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        self.pool.scale_to(0)?;
        while self.pool.is_leaving() {
            self.interrupt.check()?;
            self.pool.reconcile()?;
            thread::sleep(POLL);
        }
        self.api.ask_to_stop()?;
        while !self.api.has_stopped()? {
            self.interrupt.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Failure> {
        self.interrupt.check()?;
        self.api.check()?;
        self.pool.reconcile()?;
        let now = Instant::now();
        if due(&mut self.next_scrape, now, self.plan.scrape) {
            self.series.push(now, self.pool.scrapes(), self.plan.scrape * STALE_SCRAPES);
        }
        if due(&mut self.next_sample, now, self.plan.cpu_resolution) {
            self.pool.sample_cpu(now);
        }
        if due(&mut self.next_sync, now, self.plan.sync) {
            self.sync(now)?;
        }
        Ok(())
    }

    /// One sync of the controller, and one row of the timeline.
    fn sync(&mut self, now: Instant) -> Result<(), Failure> {
        let current = self.pool.len();
        let time = now.saturating_duration_since(self.began);
        let readings = self.readings(now);
        let seen: Vec<Reading> = match &mut self.informed {
            None => readings,
            Some(informed) => {
                let wanted = informed.decide(time, current, &readings).desired;
                self.informed_wanted = Some(self.informed_wanted.map_or(wanted, |least| least.min(wanted)));
                let hidden = |reading| match reading {
                    Reading::External(_) => Reading::External(None),
                    Reading::Cpu { .. } => reading,
                };
                readings.into_iter().map(hidden).collect()
            }
        };
        let decision = self.controller.decide(time, current, &seen);
        self.pool.scale_to(decision.desired)?;
        self.row(time, current, decision.desired, &decision.proposals);
        Ok(())
    }

    fn readings(&self, now: Instant) -> Vec<Reading> {
        let read = |metric: &Metric| match metric {
            Metric::External { name, .. } if name == BACKLOG => {
                Reading::External(self.series.last().map(Moment::backlog_bytes))
            }
            Metric::External { name, .. } if name == ACCEPTED => {
                Reading::External(self.series.accepted_rate())
            }
            Metric::External { .. } => Reading::External(None),
            Metric::Cpu { .. } => Reading::Cpu {
                pods: self.pool.pods(now),
                request_milli: self.plan.workload.cpu_request_milli,
            },
        };
        self.plan.rules().metrics.iter().map(read).collect()
    }

    fn row(&mut self, at: Duration, replicas: u32, desired: u32, proposals: &[Option<u32>]) {
        let Some(moment) = self.series.last().cloned() else {
            return;
        };
        let (mut accepted, mut applied) = (0.0, 0.0);
        if let Some(before) = &self.counted {
            let seconds = moment.at().saturating_duration_since(before.at()).as_secs_f64();
            if seconds > 0.0 {
                let settled = |moment: &Moment| moment.accepted_bytes() - moment.backlog_bytes();
                let events = |bytes: f64| (bytes / self.plan.event_bytes / seconds).max(0.0);
                accepted = events(moment.accepted_bytes() - before.accepted_bytes());
                applied = events(settled(&moment) - settled(before));
            }
        }
        self.timeline.push(Row {
            at,
            phase: self.phase,
            replicas,
            ready: self.pool.ready(),
            desired,
            proposals: proposals.to_vec(),
            backlog_bytes: moment.backlog_bytes(),
            oldest_seconds: moment.oldest_seconds(),
            accepted_per_second: accepted,
            applied_per_second: applied,
        });
        self.counted = Some(moment);
    }
}

/// Whether `next` has passed. Sets the next time, and skips periods that were missed.
fn due(next: &mut Instant, now: Instant, period: Duration) -> bool {
    if now < *next {
        return false;
    }
    *next = (*next + period).max(now);
    true
}

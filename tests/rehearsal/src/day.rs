//! The day: load comes and goes, and everything that runs beside it runs.

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

/// A scrape counts until so many later ones have failed.
const STALE_SCRAPES: u32 = 5;

/// What runs all day.
pub(super) struct Day<'a> {
    pub(super) plan: &'a Plan,
    pub(super) load: Load,
    pub(super) pool: Pool<'a>,
    pub(super) timeline: Timeline,
    interrupt: &'a Interrupt,
    api: &'a mut Program,
    controller: Controller,
    series: Series,
    /// While the metrics source is away, the controller that would have known.
    knowing: Option<Controller>,
    /// The fewest replicas that one would have gone to.
    pub(super) knowing_wanted: Option<u32>,
    phase: Phase,
    began: Instant,
    next_scrape: Instant,
    next_sample: Instant,
    next_sync: Instant,
    /// When the last row was taken, and its counters.
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
            knowing: None,
            knowing_wanted: None,
            phase: Phase::Night,
            began: now,
            next_scrape: now,
            next_sample: now,
            next_sync: now,
            counted: None,
        }
    }

    /// Starts the fewest replicas and waits until all are ready; the day begins.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        let min = self.plan.rules().min_replicas;
        self.pool.scale_to(min)?;
        while self.pool.ready() < min {
            self.interrupt.check()?;
            self.pool.tend()?;
            thread::sleep(POLL);
        }
        let now = Instant::now();
        (self.began, self.next_scrape, self.next_sample, self.next_sync) =
            (now, now, now, now + self.plan.sync);
        Ok(())
    }

    /// Lets a phase go on for this long.
    pub(super) fn spend(&mut self, phase: Phase, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        self.until(phase, time * 2, "the end of the phase", |_| Instant::now() >= end).map(drop)
    }

    /// Lets a phase go on until something holds; how long that took. Fails if it does not hold in time.
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
                    "{}: {what} did not come within {:.0} s; {} replicas, backlog {:.2} MB",
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

    /// From now on nobody answers for the External metrics.
    pub(super) fn lose_source(&mut self) {
        self.knowing = Some(self.controller.clone());
    }

    /// The source is back.
    pub(super) fn restore_source(&mut self) {
        self.knowing = None;
    }

    /// Wall clock since the day began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// As last scraped.
    pub(super) fn backlog_bytes(&self) -> f64 {
        self.series.last().map_or(0.0, Moment::backlog_bytes)
    }

    /// Ever accepted, as last scraped.
    pub(super) fn accepted_bytes(&self) -> f64 {
        self.series.last().map_or(0.0, Moment::accepted_bytes)
    }

    /// The day is over: every replica ends as after a scale-down.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        self.pool.scale_to(0)?;
        while self.pool.is_leaving() {
            self.interrupt.check()?;
            self.pool.tend()?;
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
        self.pool.tend()?;
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

    /// One pass of the controller, and a row.
    fn sync(&mut self, now: Instant) -> Result<(), Failure> {
        let current = self.pool.len();
        let time = now.saturating_duration_since(self.began);
        let readings = self.readings(now);
        let seen: Vec<Reading> = match &mut self.knowing {
            None => readings,
            Some(knowing) => {
                let wanted = knowing.decide(time, current, &readings).desired;
                self.knowing_wanted = Some(self.knowing_wanted.map_or(wanted, |least| least.min(wanted)));
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

/// Whether `next` has come; moves it on, without making up for what was missed.
fn due(next: &mut Instant, now: Instant, period: Duration) -> bool {
    if now < *next {
        return false;
    }
    *next = (*next + period).max(now);
    true
}

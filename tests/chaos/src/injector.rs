//! Injects the faults of the schedule and ends them.

mod outages;
mod strike;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::outages::Outages;
use self::strike::{Strike, check_processes, end, strike};
use crate::kind::{Held, Kind};
use crate::layout::Layout;
use crate::refuse::refuse;
use crate::schedule::{CONSUMERS, Fault};
use crate::stage::Stage;
use fleet_harness::{Failure, Interrupt};

/// The deadline for the servers to recover from a fault.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

/// With replicas, the servers are left alone for so long after they have recovered. Otherwise some would always
/// be recovering, and nothing would be accepted.
const REST: Duration = Duration::from_secs(1);

/// How often a recovery is checked.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// Injects faults when they are due.
pub(super) struct Injector {
    layout: Layout,
    faults: VecDeque<Fault>,
    active: Vec<ActiveFault>,
    /// When the first webhook was accepted. The times of the schedule count from here.
    began: Option<Instant>,
    /// No fault begins after this.
    until: Instant,
    injected: Vec<Kind>,
    outages: Outages,
    /// When the recoveries were checked last.
    checked: Instant,
    /// Until when the servers are left alone.
    rests: Vec<(Held, Instant)>,
}

/// A fault that has begun.
#[derive(Clone, Copy)]
struct ActiveFault {
    kind: Kind,
    target: usize,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The fault lasts until then.
    Lasts(Instant),
    /// The fault ended then, and the servers may not have recovered.
    Recovers(Instant),
}

impl Injector {
    /// Injects faults for the next `run_for`. The first one waits for the first accepted webhook.
    pub(super) fn new(faults: Vec<Fault>, run_for: Duration, layout: Layout) -> Self {
        Self {
            layout,
            faults: faults.into(),
            active: Vec::new(),
            began: None,
            until: Instant::now() + run_for,
            injected: Vec::new(),
            outages: Outages::default(),
            checked: Instant::now(),
            rests: Vec::new(),
        }
    }

    /// How often this kind has been injected.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.injected.iter().filter(|&&injected| injected == kind).count()
    }

    /// Whether Redis was unavailable at that time, or shortly before: a push that began then may fail later.
    pub(super) fn was_without_redis(&self, at: Timestamp) -> bool {
        self.outages.was_without_redis(at)
    }

    /// Injects and ends the faults that are due. Fails if a process that should be running has ended by
    /// itself.
    pub(super) fn tick(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        check_processes(stage)?;
        self.end_due(stage)?;
        self.check_recoveries(stage)?;
        let Some(began) = self.began else {
            if stage.has_accepted() {
                self.began = Some(Instant::now());
            }
            return Ok(());
        };
        if Instant::now() >= self.until {
            self.faults.clear();
        }
        // A fault waits while another one uses the same resource. Later faults may overtake it. The loss of a
        // machine overtakes all others.
        let is_due = |fault: &&Fault| fault.at <= began.elapsed() && !self.collides(**fault);
        let due =
            self.faults.iter().filter(is_due).min_by_key(|fault| (!fault.kind.is_loss(), fault.at)).copied();
        if let Some(due) = due {
            self.faults.retain(|fault| *fault != due);
            self.inject(due, began, stage)?;
        }
        Ok(())
    }

    fn collides(&self, Fault { kind, target, .. }: Fault) -> bool {
        // Pushes must reach the primary that has no replica, so nothing else goes wrong meanwhile.
        let is_cut_off = |fault: &ActiveFault| {
            fault.kind == Kind::LoseCutOffRedis && matches!(fault.phase, Phase::Lasts(_))
        };
        if self.active.iter().any(is_cut_off) {
            return true;
        }
        let held = kind.holds(target, self.layout);
        let same = |fault: &ActiveFault| {
            fault.kind == kind || (held.is_some() && fault.kind.holds(fault.target, self.layout) == held)
        };
        let is_resting = |(what, until): &(Held, Instant)| held == Some(*what) && *until > Instant::now();
        self.active.iter().any(same) || self.rests.iter().any(is_resting)
    }

    /// Ends all active faults now, and waits until the servers have recovered.
    pub(super) fn end_all(&mut self, stage: &mut Stage<'_>, interrupt: &Interrupt) -> Result<(), Failure> {
        self.faults.clear();
        for fault in &mut self.active {
            if let Phase::Lasts(until) = &mut fault.phase {
                *until = Instant::now();
            }
        }
        self.end_due(stage)?;
        while !self.active.is_empty() {
            interrupt.check()?;
            std::thread::sleep(CHECK_EVERY);
            self.check_recoveries(stage)?;
        }
        Ok(())
    }

    fn inject(&mut self, fault: Fault, began: Instant, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let Fault { kind, lasts, .. } = fault;
        let target = self.target(fault);
        let (at, ms) = (began.elapsed().as_secs_f64(), lasts.as_millis());
        let label = kind.label();
        if ms == 0 {
            eprintln!("{at:>6.1} s  {label}");
        } else {
            eprintln!("{at:>6.1} s  {label}, {ms} ms");
        }
        if kind.takes_redis_away(target, self.layout) {
            self.outages.begin(kind, target);
        }
        strike(Strike { kind, target, turn: self.injected.len() }, stage)?;
        self.injected.push(kind);
        let now = Instant::now();
        let phase = if lasts.is_zero() { Phase::Recovers(now) } else { Phase::Lasts(now + lasts) };
        self.active.push(ActiveFault { kind, target, phase });
        Ok(())
    }

    fn end_due(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let now = Instant::now();
        for fault in &mut self.active {
            if matches!(fault.phase, Phase::Lasts(until) if until <= now) {
                end(fault.kind, fault.target, stage)?;
                fault.phase = Phase::Recovers(Instant::now());
            }
        }
        Ok(())
    }

    /// Removes the faults from which the servers have recovered.
    fn check_recoveries(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        if self.checked.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        self.checked = Instant::now();
        let mut still = Vec::new();
        for fault in std::mem::take(&mut self.active) {
            let Phase::Recovers(since) = fault.phase else {
                still.push(fault);
                continue;
            };
            let held = fault.kind.holds(fault.target, self.layout);
            let is_over = match held {
                Some(Held::Redis) => stage.redis.recover()?,
                Some(Held::Postgres) => stage.databases.recover()?,
                Some(Held::Broker) => stage.amqp()?.recover()?,
                Some(Held::Consumers) | None => true,
            };
            if is_over {
                self.outages.end(fault.kind, fault.target);
                let rest = held.filter(|_held| self.layout.has_replicas());
                self.rests.extend(rest.map(|held| (held, Instant::now() + REST)));
                self.rests.retain(|(_held, until)| *until > Instant::now());
            } else if since.elapsed() >= RECOVERED_WITHIN {
                let seconds = RECOVERED_WITHIN.as_secs();
                let label = fault.kind.label();
                return Err(refuse(format!("the servers did not recover within {seconds} s: {label}")));
            } else {
                still.push(fault);
            }
        }
        self.active = still;
        Ok(())
    }

    /// The index of the consumer, database or server to hit. A frozen consumer must wake up after its lease
    /// has expired and been taken over, so the other consumer is hit meanwhile.
    fn target(&self, fault: Fault) -> usize {
        let is_frozen =
            |active: &ActiveFault| active.kind == Kind::FreezeConsumer && active.target == fault.target;
        if fault.kind == Kind::KillConsumer && self.active.iter().any(is_frozen) {
            return (fault.target + 1) % CONSUMERS;
        }
        fault.target
    }
}

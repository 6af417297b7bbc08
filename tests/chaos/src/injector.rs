//! Injects the faults of the schedule and ends them.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::Proxy;
use jiff::{SignedDuration, Timestamp};

use super::schedule::{CONSUMERS, Fault, Kind};
use super::stage::{Stage, change_password, make_read_only};
use crate::refuse::refuse;
use fleet_harness::{Failure, POLL, Program};

/// How long after an outage a push may still fail. A push that began without Redis times out after 1 s, and
/// pushes queued behind it begin a little later.
const AFTERMATH: SignedDuration = SignedDuration::from_millis(2_200);

/// Injects faults when they are due.
pub(super) struct Injector {
    faults: VecDeque<Fault>,
    active: Vec<ActiveFault>,
    /// When the first webhook was accepted. The times of the schedule count from here.
    began: Option<Instant>,
    /// No fault begins after this.
    until: Instant,
    injected: Vec<Kind>,
    /// When Redis was unavailable.
    without_redis: Vec<Outage>,
}

/// A period without Redis.
struct Outage {
    kind: Kind,
    target: usize,
    since: Timestamp,
    /// `None` while the outage lasts.
    until: Option<Timestamp>,
}

/// A fault that lasts until `at`.
struct ActiveFault {
    at: Instant,
    kind: Kind,
    target: usize,
}

impl Injector {
    /// Injects faults for the next `run_for`. The first one waits for the first accepted webhook.
    pub(super) fn new(faults: Vec<Fault>, run_for: Duration) -> Self {
        Self {
            faults: faults.into(),
            active: Vec::new(),
            began: None,
            until: Instant::now() + run_for,
            injected: Vec::new(),
            without_redis: Vec::new(),
        }
    }

    /// How often this kind has been injected.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.injected.iter().filter(|&&injected| injected == kind).count()
    }

    /// Injects and ends the faults that are due. Fails if a process that should be running has ended by
    /// itself.
    pub(super) fn tick(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        check_processes(stage)?;
        while let Some(due) = self.active.iter().position(|fault| fault.at <= Instant::now()) {
            let due = self.active.swap_remove(due);
            self.end_fault(&due, stage)?;
        }
        let Some(began) = self.began else {
            if stage.has_accepted() {
                self.began = Some(Instant::now());
            }
            return Ok(());
        };
        if Instant::now() >= self.until {
            self.faults.clear();
        }
        // A fault waits while another one uses the same resource. Later faults may overtake it.
        let is_due = |fault: &Fault| fault.at <= began.elapsed() && !self.collides(fault.kind);
        if let Some(due) = self.faults.iter().position(is_due)
            && let Some(fault) = self.faults.remove(due)
        {
            self.inject(fault, began, stage)?;
        }
        Ok(())
    }

    fn collides(&self, kind: Kind) -> bool {
        let same = |fault: &ActiveFault| {
            fault.kind == kind || (kind.holds().is_some() && fault.kind.holds() == kind.holds())
        };
        self.active.iter().any(same)
    }

    /// Ends all active faults now.
    pub(super) fn end_all(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.faults.clear();
        let active: Vec<_> = self.active.drain(..).collect();
        active.iter().try_for_each(|due| self.end_fault(due, stage))
    }

    fn end_fault(&mut self, due: &ActiveFault, stage: &mut Stage<'_>) -> Result<(), Failure> {
        end_fault(due, stage)?;
        let is_it = |outage: &&mut Outage| {
            outage.until.is_none() && (outage.kind, outage.target) == (due.kind, due.target)
        };
        if let Some(outage) = self.without_redis.iter_mut().find(is_it) {
            outage.until = Some(Timestamp::now());
        }
        Ok(())
    }

    /// Whether Redis was unavailable at that time, or shortly before: a push that began then may fail later.
    pub(super) fn was_without_redis(&self, at: Timestamp) -> bool {
        self.without_redis.iter().any(|outage| {
            let until =
                outage.until.map_or(Timestamp::MAX, |until| until.saturating_add(AFTERMATH).unwrap_or(until));
            (outage.since..=until).contains(&at)
        })
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
        let since = Timestamp::now();
        match kind {
            Kind::KillApi => {
                if let Some(api) = stage.api.take() {
                    api.kill()?;
                }
                stage.api = Some(stage.start_api()?);
            }
            Kind::KillConsumer => {
                stage.consumers.remove(target).kill()?;
                stage.consumers.insert(target, stage.start_consumer(target)?);
            }
            Kind::KillRedis => {
                stage.redis.kill()?;
                stage.redis.restart()?;
            }
            Kind::StopPostgres | Kind::DatabaseAway => stage.database(target).stop_immediate()?,
            Kind::FreezeConsumer => stage.consumers[target].freeze()?,
            Kind::FreezeConsumers => stage.consumers.iter_mut().try_for_each(Program::freeze)?,
            Kind::FreezeRedis => stage.redis.pause()?,
            Kind::RollConsumer => {
                let successor = stage.start_consumer(target)?;
                retire_consumer(stage, target, successor)?;
            }
            Kind::CutConnections => stage.proxies.iter().for_each(Proxy::cut),
            Kind::BlackHole => stage.proxies[target].black_hole(),
            Kind::FillRedis => stage.fill_redis(true)?,
            Kind::ReadOnlyPostgres => make_read_only(stage.database(target), true)?,
            Kind::WrongPassword => change_password(stage.database(target), true)?,
            Kind::CloseConnections => stage.close_connections()?,
            Kind::FailOver => stage.fail_over()?,
            Kind::UnwritableLogs => {
                let is_pipe = target == 0;
                stop_api(stage)?;
                stage.api = Some(stage.start_unlogged_api(is_pipe)?);
                let successor = stage.start_unlogged_consumer(target, is_pipe)?;
                retire_consumer(stage, target, successor)?;
            }
        }
        self.injected.push(kind);
        if kind.takes_redis_away(target) {
            let until = lasts.is_zero().then(Timestamp::now);
            self.without_redis.push(Outage { kind, target, since, until });
        }
        if !lasts.is_zero() {
            let at = Instant::now() + lasts;
            self.active.push(ActiveFault { at, kind, target });
        }
        Ok(())
    }

    /// The index of the consumer, database or server to hit. A frozen consumer must wake up after its lease
    /// has expired and been taken over, so the other consumer is hit meanwhile.
    fn target(&self, fault: Fault) -> usize {
        let is_frozen =
            |active: &ActiveFault| active.kind == Kind::FreezeConsumer && active.target == fault.target;
        match fault.kind {
            Kind::KillConsumer if self.active.iter().any(is_frozen) => (fault.target + 1) % CONSUMERS,
            Kind::KillApi
            | Kind::KillConsumer
            | Kind::KillRedis
            | Kind::StopPostgres
            | Kind::FreezeConsumer
            | Kind::FreezeConsumers
            | Kind::FreezeRedis
            | Kind::RollConsumer
            | Kind::CutConnections
            | Kind::BlackHole
            | Kind::FillRedis
            | Kind::ReadOnlyPostgres
            | Kind::WrongPassword
            | Kind::CloseConnections
            | Kind::FailOver
            | Kind::UnwritableLogs
            | Kind::DatabaseAway => fault.target,
        }
    }
}

fn end_fault(due: &ActiveFault, stage: &mut Stage<'_>) -> Result<(), Failure> {
    match due.kind {
        Kind::StopPostgres | Kind::DatabaseAway => stage.database(due.target).restart()?,
        Kind::FreezeRedis => stage.redis.resume()?,
        Kind::FreezeConsumer => stage.consumers[due.target].thaw()?,
        Kind::FreezeConsumers => stage.consumers.iter_mut().try_for_each(Program::thaw)?,
        Kind::BlackHole => stage.proxies[due.target].heal(),
        Kind::FillRedis => stage.fill_redis(false)?,
        Kind::ReadOnlyPostgres => make_read_only(stage.database(due.target), false)?,
        Kind::WrongPassword => change_password(stage.database(due.target), false)?,
        Kind::UnwritableLogs => {
            stop_api(stage)?;
            stage.api = Some(stage.start_api()?);
            let successor = stage.start_consumer(due.target)?;
            retire_consumer(stage, due.target, successor)?;
        }
        Kind::KillApi
        | Kind::KillConsumer
        | Kind::KillRedis
        | Kind::RollConsumer
        | Kind::CutConnections
        | Kind::CloseConnections
        | Kind::FailOver => {
            return Err(refuse(format!("{} does not last and cannot be ended", due.kind.label())));
        }
    }
    Ok(())
}

/// Stops the API with SIGTERM and waits, because the next API needs its port.
fn stop_api(stage: &mut Stage<'_>) -> Result<(), Failure> {
    if let Some(mut api) = stage.api.take() {
        api.wait_up()?;
        api.ask_to_stop()?;
        while !api.has_stopped()? {
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Sends SIGTERM to a consumer. Its successor already runs.
fn retire_consumer(stage: &mut Stage<'_>, index: usize, successor: Program) -> Result<(), Failure> {
    let mut old = std::mem::replace(&mut stage.consumers[index], successor);
    old.wait_up()?;
    old.ask_to_stop()?;
    stage.leaving.push(old);
    Ok(())
}

fn check_processes(stage: &mut Stage<'_>) -> Result<(), Failure> {
    for process in stage.api.iter_mut().chain(&mut stage.consumers) {
        process.check()?;
    }
    let mut still = Vec::new();
    for mut process in stage.leaving.drain(..) {
        if !process.has_stopped()? {
            still.push(process);
        }
    }
    stage.leaving = still;
    Ok(())
}

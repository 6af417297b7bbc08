//! Inflicts the schedule's faults and mends them.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::Proxy;
use jiff::{SignedDuration, Timestamp};

use super::schedule::{CONSUMERS, Fault, Kind};
use super::stage::{Stage, change_password, make_read_only};
use crate::refuse::refuse;
use fleet_harness::{Failure, POLL, Program};

/// A push that began without Redis fails within its time of 1 s; what waits behind it may begin a little later.
const AFTERMATH: SignedDuration = SignedDuration::from_millis(2_200);

/// The schedule at work.
pub(super) struct Injector {
    faults: VecDeque<Fault>,
    mends: Vec<Mend>,
    /// When the first webhook was seen; the schedule counts from here.
    began: Option<Instant>,
    /// When no fault may begin any more.
    until: Instant,
    inflicted: Vec<Kind>,
    /// When Redis could not be used.
    without_redis: Vec<Outage>,
}

/// A time without Redis.
struct Outage {
    kind: Kind,
    target: usize,
    since: Timestamp,
    /// Not yet known while it lasts.
    until: Option<Timestamp>,
}

/// The end of a fault that lasts.
struct Mend {
    at: Instant,
    kind: Kind,
    target: usize,
}

impl Injector {
    /// Faults for the next `run_for`; the first one waits for the first accepted webhook.
    pub(super) fn new(faults: Vec<Fault>, run_for: Duration) -> Self {
        Self {
            faults: faults.into(),
            mends: Vec::new(),
            began: None,
            until: Instant::now() + run_for,
            inflicted: Vec::new(),
            without_redis: Vec::new(),
        }
    }

    /// How often this kind has been inflicted.
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.inflicted.iter().filter(|&&inflicted| inflicted == kind).count()
    }

    /// Does what is due, and fails if a process that should serve has ended by itself.
    pub(super) fn tick(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        check_processes(stage)?;
        while let Some(due) = self.mends.iter().position(|mend| mend.at <= Instant::now()) {
            let due = self.mends.swap_remove(due);
            self.mend(&due, stage)?;
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
        // One that needs what another has in its hands waits, and lets those behind it pass.
        let is_due = |fault: &Fault| fault.at <= began.elapsed() && !self.collides(fault.kind);
        if let Some(due) = self.faults.iter().position(is_due)
            && let Some(fault) = self.faults.remove(due)
        {
            self.inflict(fault, began, stage)?;
        }
        Ok(())
    }

    fn collides(&self, kind: Kind) -> bool {
        let same =
            |mend: &Mend| mend.kind == kind || (kind.holds().is_some() && mend.kind.holds() == kind.holds());
        self.mends.iter().any(same)
    }

    /// Mends what is still broken, now.
    pub(super) fn mend_all(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.faults.clear();
        let mends: Vec<_> = self.mends.drain(..).collect();
        mends.iter().try_for_each(|due| self.mend(due, stage))
    }

    fn mend(&mut self, due: &Mend, stage: &mut Stage<'_>) -> Result<(), Failure> {
        mend(due, stage)?;
        let is_it = |outage: &&mut Outage| {
            outage.until.is_none() && (outage.kind, outage.target) == (due.kind, due.target)
        };
        if let Some(outage) = self.without_redis.iter_mut().find(is_it) {
            outage.until = Some(Timestamp::now());
        }
        Ok(())
    }

    /// Whether Redis could not be used at that time, or shortly before: what began then may fail now.
    pub(super) fn was_without_redis(&self, at: Timestamp) -> bool {
        self.without_redis.iter().any(|outage| {
            let until =
                outage.until.map_or(Timestamp::MAX, |until| until.saturating_add(AFTERMATH).unwrap_or(until));
            (outage.since..=until).contains(&at)
        })
    }

    fn inflict(&mut self, fault: Fault, began: Instant, stage: &mut Stage<'_>) -> Result<(), Failure> {
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
        self.inflicted.push(kind);
        if kind.takes_redis_away(target) {
            let until = lasts.is_zero().then(Timestamp::now);
            self.without_redis.push(Outage { kind, target, since, until });
        }
        if !lasts.is_zero() {
            let at = Instant::now() + lasts;
            self.mends.push(Mend { at, kind, target });
        }
        Ok(())
    }

    /// Whom it strikes. A frozen consumer is to wake up after its lease: then it is the other one.
    fn target(&self, fault: Fault) -> usize {
        let is_frozen = |mend: &Mend| mend.kind == Kind::FreezeConsumer && mend.target == fault.target;
        match fault.kind {
            Kind::KillConsumer if self.mends.iter().any(is_frozen) => (fault.target + 1) % CONSUMERS,
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

fn mend(due: &Mend, stage: &mut Stage<'_>) -> Result<(), Failure> {
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
            return Err(refuse(format!("{} cannot be mended", due.kind.label())));
        }
    }
    Ok(())
}

/// Ends the API as SIGTERM does: the next one needs its port.
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

/// Ends a consumer as SIGTERM does, beside its successor.
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

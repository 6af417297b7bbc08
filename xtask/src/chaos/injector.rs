//! Inflicts the schedule's faults and mends them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::refuse;
use super::schedule::{CONSUMERS, Fault, Kind};
use super::stage::Stage;
use crate::failure::Failure;

/// The schedule at work.
pub(super) struct Injector {
    faults: VecDeque<Fault>,
    mends: Vec<Mend>,
    /// When the first webhook was seen; the schedule counts from here.
    began: Option<Instant>,
    /// When no fault may begin any more.
    until: Instant,
    inflicted: Vec<Kind>,
}

/// The end of a fault that lasts.
struct Mend {
    at: Instant,
    kind: Kind,
    consumer: usize,
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
            mend(&self.mends.swap_remove(due), stage)?;
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
        let Some(&fault) = self.faults.front() else {
            return Ok(());
        };
        // When the machine is so slow that the same fault still lasts, the next one waits.
        if began.elapsed() >= fault.at && !self.mends.iter().any(|mend| mend.kind == fault.kind) {
            self.faults.pop_front();
            self.inflict(fault, began, stage)?;
        }
        Ok(())
    }

    /// Mends what is still broken, now.
    pub(super) fn mend_all(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        self.faults.clear();
        self.mends.drain(..).try_for_each(|due| mend(&due, stage))
    }

    fn inflict(&mut self, fault: Fault, began: Instant, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let Fault { kind, lasts, .. } = fault;
        let is_frozen = |consumer: usize| {
            let mut frozen = self.mends.iter().filter(|mend| mend.kind == Kind::FreezeConsumer);
            frozen.any(|mend| mend.consumer == consumer)
        };
        // A frozen consumer is to wake up after its lease: the fault strikes the other one.
        let consumer =
            if is_frozen(fault.consumer) { (fault.consumer + 1) % CONSUMERS } else { fault.consumer };
        let (at, ms) = (began.elapsed().as_secs_f64(), lasts.as_millis());
        let label = kind.label();
        if ms == 0 {
            eprintln!("{at:>6.1} s  {label}");
        } else {
            eprintln!("{at:>6.1} s  {label}, {ms} ms");
        }
        match kind {
            Kind::KillApi => {
                if let Some(api) = stage.api.take() {
                    api.kill()?;
                }
                stage.api = Some(stage.start_api()?);
            }
            Kind::KillConsumer => {
                stage.consumers.remove(consumer).kill()?;
                stage.consumers.insert(consumer, stage.start_consumer(consumer)?);
            }
            Kind::KillRedis => {
                stage.redis.kill()?;
                stage.redis.restart()?;
            }
            Kind::StopPostgres => stage.postgres.stop_immediate()?,
            Kind::FreezeConsumer => stage.consumers[consumer].freeze()?,
            Kind::FreezeRedis => stage.redis.pause()?,
            Kind::RollConsumer => {
                let successor = stage.start_consumer(consumer)?;
                let mut old = std::mem::replace(&mut stage.consumers[consumer], successor);
                old.ask_to_stop()?;
                stage.leaving.push(old);
            }
        }
        self.inflicted.push(kind);
        if !lasts.is_zero() {
            let at = Instant::now() + lasts;
            self.mends.push(Mend { at, kind, consumer });
        }
        Ok(())
    }
}

fn mend(due: &Mend, stage: &mut Stage<'_>) -> Result<(), Failure> {
    match due.kind {
        Kind::StopPostgres => stage.postgres.restart()?,
        Kind::FreezeRedis => stage.redis.resume()?,
        Kind::FreezeConsumer => stage.consumers[due.consumer].thaw()?,
        Kind::KillApi | Kind::KillConsumer | Kind::KillRedis | Kind::RollConsumer => {
            return Err(refuse(format!("{} cannot be mended", due.kind.label())));
        }
    }
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

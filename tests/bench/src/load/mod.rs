//! The load generator: prepared requests over raw sockets. Runs in its own process, so that its CPU time is
//! measured separately.

mod connection;
mod engine;
mod outcome;
mod plan;
mod shared;
mod traffic;

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

pub(crate) use self::connection::whole_answer;
use self::engine::Engine;
pub(crate) use self::outcome::{Latency, Outcome};
pub(crate) use self::plan::{End, Load, Traffic};
use self::shared::{Counts, Shared};
pub(crate) use self::traffic::get;
use crate::failure::Failure;
use crate::usage::{self, CpuMicros};

/// The CPU times and counts when the measurement began.
struct Begin {
    at: Instant,
    cpu: CpuMicros,
    own_cpu_micros: f64,
    reports: u64,
}

impl Begin {
    fn now(load: &Load, shared: &Shared) -> Result<Self, Failure> {
        let begin = Self {
            cpu: usage::cpu(&load.watched)?,
            own_cpu_micros: usage::own_cpu_micros()?,
            reports: shared.reports.load(Ordering::Relaxed),
            at: Instant::now(),
        };
        shared.measuring.store(true, Ordering::Release);
        Ok(begin)
    }
}

/// Sends the load and returns the outcome.
pub(crate) fn run(load: &Load) -> Result<Outcome, Failure> {
    let shared = Arc::new(Shared::default());
    let mut engines = Vec::new();
    for index in 0..load.threads {
        engines.push(Engine::connect(load, index, Arc::clone(&shared))?);
    }
    // Without a warm-up the first request already counts.
    let at_once = if load.warm_up.is_zero() { Some(Begin::now(load, &shared)?) } else { None };
    let (ended, ends) = mpsc::sync_channel::<()>(load.threads);
    let mut workers = Vec::new();
    for engine in engines {
        let ended = ended.clone();
        workers.push(thread::spawn(move || {
            let result = engine.run();
            // Wakes the main thread, whether the worker succeeded or failed.
            let _nobody_waits = ended.send(());
            result
        }));
    }
    drop(ended);
    let begin = match at_once {
        Some(begin) => begin,
        None => {
            thread::sleep(load.warm_up);
            Begin::now(load, &shared)?
        }
    };
    match load.end {
        // A thread that ends early has failed, or has sent everything.
        End::After(duration) => {
            let _ended = ends.recv_timeout(duration);
        }
        End::Reports(_) => {
            for _worker in &workers {
                let _ended = ends.recv();
            }
        }
        End::StdinCloses => drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink())),
    }
    shared.measuring.store(false, Ordering::Release);
    let seconds = begin.at.elapsed().as_secs_f64();
    let reports = shared.reports.load(Ordering::Relaxed) - begin.reports;
    let (after, own) = (usage::cpu(&load.watched)?, usage::own_cpu_micros()?);
    shared.stopping.store(true, Ordering::Release);
    let mut counts = Counts::new();
    for worker in workers {
        let ended =
            worker.join().map_err(|_| Failure::measurement("a thread of the load generator panicked"))?;
        counts.add(&ended?);
    }
    Ok(Outcome {
        reports,
        sent: counts.sent,
        seconds,
        latency: Latency::of(&counts.latency_micros),
        answers: counts.answers,
        cpu_micros: usage::since(&begin.cpu, &after),
        own_cpu_micros: own - begin.own_cpu_micros,
    })
}

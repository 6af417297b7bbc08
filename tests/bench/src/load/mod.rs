//! The load generator: prepared requests over raw sockets, a process of its own so that its CPU is its own.

mod connection;
mod engine;
mod traffic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub(crate) use self::connection::whole_answer;
use self::engine::Engine;
use crate::failure::Failure;
use crate::provider::Provider;
use crate::usage::{self, CpuMicros, Watched};

/// What to send, how fast and for how long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) target: SocketAddr,
    /// Keep-alive connections, divided among the threads.
    pub(crate) connections: usize,
    /// Threads; each drives its connections with one epoll.
    pub(crate) threads: usize,
    /// What is sent.
    pub(crate) traffic: Traffic,
    /// Requests a second, sent at fixed times whether or not earlier ones are answered, latency counting from those
    /// times; absent: each connection sends as soon as it is answered.
    pub(crate) per_second: Option<f64>,
    /// Sent, but not measured.
    pub(crate) warm_up: Duration,
    /// When to end.
    pub(crate) end: End,
    /// Whose CPU to read at the beginning and the end of what is measured.
    pub(crate) watched: Watched,
}

/// What is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// A few thousand requests, rendered beforehand, again and again.
    Repeated {
        /// Whose.
        provider: Provider,
        /// Different vehicles.
        vehicles: u32,
    },
    /// Every report new, observed as it is sent; the providers in turn.
    Fresh {
        /// Whose.
        providers: Vec<Provider>,
        /// Different vehicles of each.
        vehicles: u32,
    },
    /// Half an hour of NIU's reports: for every hundred single ones an array of a hundred.
    Bomb {
        /// Different vehicles.
        vehicles: u32,
    },
}

/// When to end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum End {
    /// After this time.
    After(Duration),
    /// When so many reports are answered 200; those refused with 503 are sent again.
    Reports(u64),
    /// When standard input ends.
    StdinCloses,
}

/// What came of it; only what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Answers by status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Reports in the requests that were answered 200.
    pub(crate) reports: u64,
    /// Requests sent, answered or not, those sent again included.
    pub(crate) sent: u64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// Milliseconds from when a request was due to its answer.
    pub(crate) latency: Latency,
    /// CPU of the watched processes.
    pub(crate) cpu_micros: CpuMicros,
    /// CPU of the load generator.
    pub(crate) own_cpu_micros: f64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// The longest latency that is told apart from longer ones, microseconds.
const LONGEST_MICROS: u64 = 10 * 60 * 1_000_000;

impl Latency {
    /// An empty histogram of microseconds. Its bounds are fixed: recording never fails, and clamps what is longer.
    pub(crate) fn histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are valid"))
    }

    /// Of a histogram of microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |micros: u64| micros as f64 / 1000.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Outcome {
    /// Requests answered 200.
    pub(crate) fn accepted(&self) -> u64 {
        self.answers.get(&200).copied().unwrap_or_default()
    }

    /// Requests answered 200 in a second.
    pub(crate) fn accepted_per_second(&self) -> f64 {
        self.accepted() as f64 / self.seconds
    }

    /// CPU of these processes for each request answered 200, microseconds.
    pub(crate) fn cpu_a_request(&self, names: &[&str]) -> f64 {
        let sum: f64 = names.iter().filter_map(|&name| self.cpu_micros.get(name)).sum();
        sum / self.accepted() as f64
    }

    /// Fails unless every answer was 200.
    pub(crate) fn require_all_accepted(&self, what: &str) -> Result<(), Failure> {
        if self.accepted() > 0 && self.answers.len() == 1 {
            return Ok(());
        }
        Err(Failure::measurement(format!("{what} answered {:?} instead of 200s alone", self.answers)))
    }
}

/// What the threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    measuring: AtomicBool,
    stopping: AtomicBool,
    reports: AtomicU64,
}

/// What one thread counted while it was measured.
#[derive(Debug)]
pub(crate) struct Counts {
    answers: BTreeMap<u16, u64>,
    sent: u64,
    latency_micros: Histogram<u64>,
}

impl Counts {
    fn new() -> Self {
        Self { answers: BTreeMap::new(), sent: 0, latency_micros: Latency::histogram() }
    }

    fn add(&mut self, other: &Self) {
        for (&status, count) in &other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.sent += other.sent;
        // They have the same bounds.
        let _added = self.latency_micros.add(&other.latency_micros);
    }
}

/// What had been used and done when the measurement began.
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

/// Sends it.
pub(crate) fn run(load: &Load) -> Result<Outcome, Failure> {
    let shared = Arc::new(Shared::default());
    let mut engines = Vec::new();
    for index in 0..load.threads {
        engines.push(Engine::connect(load, index, Arc::clone(&shared))?);
    }
    // Without a warm-up the very first request counts.
    let at_once = if load.warm_up.is_zero() { Some(Begin::now(load, &shared)?) } else { None };
    let (ended, ends) = mpsc::sync_channel::<()>(load.threads);
    let mut workers = Vec::new();
    for engine in engines {
        let ended = ended.clone();
        workers.push(thread::spawn(move || {
            let result = engine.run();
            // Whichever way it ended, the main thread looks.
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
        // A thread that ends before its time has failed, or has sent all it had to.
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

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn long_and_short_latencies_are_told_apart() {
        let mut histogram = Latency::histogram();
        for micros in [150, 150, 40_000, u64::MAX] {
            histogram.saturating_record(micros);
        }
        let latency = Latency::of(&histogram);
        assert!((0.149..0.152).contains(&latency.p50_ms), "{latency:?}");
        assert!(latency.max_ms > 500_000.0, "{latency:?}");
        assert!((39.0..41.0).contains(&(histogram.value_at_quantile(0.75) as f64 / 1000.0)), "{histogram:?}");
    }
}

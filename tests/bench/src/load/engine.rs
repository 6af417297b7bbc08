//! The event loop of one thread over its connections.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::connection::{Connection, Progress};
use super::plan::{End, Load};
use super::shared::{Counts, Shared};
use super::traffic::Requests;
use crate::failure::Failure;

/// The longest wait before the loop checks whether to stop.
const STOP_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// The pause before a refused request is retried.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

/// The id of the timer in the epoll.
const TIMER: u64 = u64::MAX;

/// One thread of the load generator.
#[derive(Debug)]
pub(super) struct Engine {
    target: SocketAddr,
    epoll: OwnedFd,
    /// The timer, because epoll's own timeout has a precision of 1 ms, longer than most responses take.
    timer: OwnedFd,
    connections: Vec<Connection>,
    /// The connections without a request. The one that has been idle longest comes first, because the API
    /// closes idle ones.
    idle: VecDeque<usize>,
    refused: VecDeque<(Instant, usize)>,
    /// What was read last.
    chunk: Vec<u8>,
    requests: Requests,
    pace: Option<Pace>,
    /// How many reports must be accepted.
    limit: Option<u64>,
    /// How many reports have been sent.
    begun: u64,
    shared: Arc<Shared>,
    counts: Counts,
}

/// The times at which requests are due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    start: Instant,
    interval: Duration,
    sent: u32,
}

impl Pace {
    fn next_due(&self) -> Instant {
        self.start + self.interval * self.sent
    }
}

impl Engine {
    /// Opens one thread's share of the connections.
    pub(super) fn connect(load: &Load, thread: usize, shared: Arc<Shared>) -> Result<Self, Failure> {
        let (target, threads) = (load.target, load.threads);
        let connections = load.connections / threads;
        let open = || -> io::Result<_> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), flags)?;
            Ok((epoll, timer))
        };
        let (epoll, timer) = open().map_err(Failure::io("create an epoll"))?;
        let pace = load.per_second.map(|rate| Pace {
            start: Instant::now(),
            interval: Duration::from_secs_f64(threads as f64 / rate),
            sent: 0,
        });
        let mut engine = Self {
            target,
            epoll,
            timer,
            connections: Vec::new(),
            idle: (0..connections).collect(),
            refused: VecDeque::new(),
            chunk: vec![0; READ_BYTES],
            requests: Requests::new(&load.traffic, thread, threads),
            pace,
            limit: match load.end {
                End::Reports(reports) => Some(reports / threads as u64),
                End::After(_) | End::StdinCloses => None,
            },
            begun: 0,
            shared,
            counts: Counts::new(),
        };
        for index in 0..connections {
            let connection =
                Connection::connect(target).map_err(Failure::io(format!("connect to {target}")))?;
            engine.connections.push(connection);
            engine.watch(index).map_err(Failure::io("watch a connection"))?;
        }
        Ok(engine)
    }

    /// Sends until it is told to stop, or until all reports are accepted.
    pub(super) fn run(mut self) -> Result<Counts, Failure> {
        let mut events = Vec::with_capacity(self.connections.len() + 1);
        while !self.shared.stopping.load(Ordering::Acquire) && !self.is_done() {
            self.turn(&mut events).map_err(Failure::io(format!("exchange requests with {}", self.target)))?;
        }
        Ok(self.counts)
    }

    fn turn(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        self.send_due()?;
        self.send_refused()?;
        if let Some(pace) = &self.pace {
            let left = pace.next_due().saturating_duration_since(Instant::now());
            // Zero disarms the timer. Without a free connection the loop waits for a response instead.
            let left = if self.idle.is_empty() { Duration::ZERO } else { left.max(Duration::from_nanos(1)) };
            set_timer(&self.timer, left)?;
        }
        epoll::wait(&self.epoll, spare_capacity(events), Some(&STOP_CHECK))?;
        for event in events.drain(..) {
            let data = event.data;
            if let Ok(index) = usize::try_from(data.u64())
                && data.u64() != TIMER
            {
                self.advance(index)?;
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.begun >= limit) && self.idle.len() == self.connections.len()
    }

    fn send_due(&mut self) -> io::Result<()> {
        while self.limit.is_none_or(|limit| self.begun < limit) {
            let now = Instant::now();
            let due = self.pace.map_or(now, |pace| pace.next_due());
            if due > now {
                break;
            }
            let Some(index) = self.idle.pop_front() else { break };
            if let Some(pace) = &mut self.pace {
                pace.sent += 1;
            }
            let (request, reports) = self.requests.next();
            self.begun += reports;
            self.count_sent();
            let sent = self.connections[index].send(request, reports, due);
            self.reconnect(index, sent)?;
        }
        Ok(())
    }

    fn send_refused(&mut self) -> io::Result<()> {
        while let Some(&(at, index)) = self.refused.front()
            && at <= Instant::now()
        {
            self.refused.pop_front();
            self.count_sent();
            let sent = self.connections[index].send_again();
            self.reconnect(index, sent)?;
        }
        Ok(())
    }

    fn advance(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        match connection.advance(&mut self.chunk)? {
            Progress::Waiting => {}
            Progress::Answered(status) => {
                let micros = connection.due.elapsed().as_micros();
                if self.shared.measuring.load(Ordering::Acquire) {
                    *self.counts.answers.entry(status).or_default() += 1;
                    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                    self.counts.latency_micros.saturating_record(micros);
                }
                if status == 503 && self.limit.is_some() {
                    self.refused.push_back((Instant::now() + AGAIN_AFTER, index));
                    return Ok(());
                }
                if status == 200 {
                    self.shared.reports.fetch_add(connection.reports, Ordering::Relaxed);
                }
                connection.is_busy = false;
                self.idle.push_back(index);
            }
            Progress::Closed => self.replace(index)?,
        }
        Ok(())
    }

    /// Reconnects if the server closed a connection that was idle for long, and sends the request again.
    fn reconnect(&mut self, index: usize, sent: io::Result<()>) -> io::Result<()> {
        match sent {
            Ok(()) => Ok(()),
            Err(_closed) => self.replace(index),
        }
    }

    fn replace(&mut self, index: usize) -> io::Result<()> {
        self.connections[index].reconnect(self.target)?;
        self.watch(index)?;
        if self.connections[index].is_busy { self.connections[index].send_again() } else { Ok(()) }
    }

    fn watch(&self, index: usize) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, self.connections[index].stream(), data, flags)?)
    }

    fn count_sent(&mut self) {
        self.counts.sent += u64::from(self.shared.measuring.load(Ordering::Acquire));
    }
}

fn set_timer(timer: &OwnedFd, left: Duration) -> io::Result<()> {
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    let it_value = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
    Ok(())
}

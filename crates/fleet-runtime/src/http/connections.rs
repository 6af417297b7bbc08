//! All connections of a server: one sweep enforces the header timeout, and some are closed when room is needed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use strum::VariantArray;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

use super::cause::Cause;
use super::clock::Clock;
use super::limits::ServeLimits;
use super::watch::Watch;
use crate::metrics;
use crate::outage::{Failing, OutageLog, Over};

/// Sweeps within one header timeout. The timeout may be late by the time between two sweeps.
const SWEEPS_PER_TIMEOUT: u32 = 10;

/// Shortest time between two sweeps.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// Longest time between two sweeps, which also forget the connections that have ended.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// One connection in so many is closed at a time to make room, so that a flood does not cause a search for each new one.
const PART_FOR_ROOM: usize = 32;

/// How often more connections are closed if a new one still waits.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(10);

/// How long no connection must have been closed before there is room again.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// A server's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    listener: &'static str,
    /// How long a new connection is safe from being closed to make room.
    grace: Duration,
    clock: Clock,
    sweeps: Interval,
    watches: Vec<Weak<Watch>>,
    made_room: Option<Instant>,
    making_room: OutageLog,
}

impl Connections {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        let ServeLimits { listener, grace, header_timeout, .. } = *limits;
        let period = (header_timeout / SWEEPS_PER_TIMEOUT).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        let mut sweeps = tokio::time::interval(period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics::connections(listener, 0, 0);
        for cause in Cause::VARIANTS {
            metrics::connections_closed(listener, *cause, 0);
        }
        let (made_room, making_room) = (None, OutageLog::default());
        Self { listener, grace, clock: Clock::start(), sweeps, watches: Vec::new(), made_room, making_room }
    }

    /// Adds a connection.
    pub(super) fn add(&mut self) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(self.listener, self.clock));
        self.watches.push(Arc::downgrade(&watch));
        watch
    }

    /// Sweeps until it is dropped.
    pub(super) async fn sweep(&mut self) {
        loop {
            self.sweeps.tick().await;
            self.look();
        }
    }

    /// Waits until there may be another connection; closes others to make room.
    pub(super) async fn room(&mut self, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Some(permit);
        }
        loop {
            self.make_room(Cause::Connections);
            tokio::select! {
                // The semaphore is never closed.
                permit = Arc::clone(permits).acquire_owned() => return permit.ok(),
                () = tokio::time::sleep(MAKE_ROOM_EVERY) => {}
                _tick = self.sweeps.tick() => self.look(),
            }
        }
    }

    /// Closes some of the connections of unauthenticated clients: those that have been open for longest.
    pub(super) fn make_room(&mut self, cause: Cause) {
        let latest = self.clock.before(self.grace);
        let mut closable = Vec::new();
        self.watches.retain(|watch| {
            let Some(watch) = watch.upgrade() else { return false };
            if let Some(since) = watch.standing.closable_since().filter(|since| *since <= latest) {
                closable.push((since, watch));
            }
            true
        });
        let most = self.watches.len().div_ceil(PART_FOR_ROOM).min(closable.len());
        if most < closable.len() {
            closable.select_nth_unstable_by_key(most, |(since, _watch)| *since);
        }
        let closed = closable.into_iter().take(most).filter(|(since, watch)| watch.close(*since));
        let closed = u64::try_from(closed.count()).unwrap_or(u64::MAX);
        if closed > 0 {
            self.report_closed(closed, cause);
        }
    }

    /// Wakes the connections that have passed a deadline, and updates the metrics.
    fn look(&mut self) {
        let now = self.clock.now();
        let mut authenticated = 0;
        self.for_each(|watch| {
            authenticated += usize::from(watch.standing.is_kept());
            let deadline = watch.header_deadline.load(Ordering::Acquire);
            if deadline <= now {
                watch.passed_deadline.store(deadline, Ordering::Release);
                watch.task.wake();
            }
            if watch.is_overdue() {
                watch.task.wake();
            }
        });
        metrics::connections(self.listener, self.watches.len(), authenticated);
        if self.made_room.is_some_and(|last| last.elapsed() >= OVER_AFTER) {
            self.made_room = None;
            self.report_room();
        }
    }

    fn report_room(&mut self) {
        if let Some(Over { failures, lasted }) = self.making_room.succeeded(Instant::now()) {
            let (listener, seconds) = (self.listener, lasted.as_secs());
            tracing::info!(listener, closed = failures, seconds, "there is room for every connection again");
        }
    }

    fn report_closed(&mut self, closed: u64, cause: Cause) {
        metrics::connections_closed(self.listener, cause, closed);
        let now = Instant::now();
        self.made_room = Some(now);
        if let Some(Failing { failures, lasted }) = self.making_room.failed(now, closed) {
            tracing::warn!(
                listener = self.listener,
                reason = cause.name(),
                closed = failures,
                seconds = lasted.as_secs(),
                "too many connections: closing those that have been open for longest without an authenticated request"
            );
        }
    }

    /// Closes every connection: an idle one now, the others after their current response.
    pub(super) fn close(&mut self) {
        self.for_each(|watch| {
            watch.closing.store(true, Ordering::Release);
            watch.task.wake();
        });
    }

    fn for_each(&mut self, mut visit: impl FnMut(&Watch)) {
        self.watches.retain(|watch| watch.upgrade().inspect(|watch| visit(watch)).is_some());
    }
}

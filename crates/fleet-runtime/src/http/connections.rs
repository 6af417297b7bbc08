//! What a connection hears from outside: that its headers take too long, that it is to close, now or behind its response.
//!
//! hyper's header timeout asks for a sleep for each request and drops it when the head is here; on the runtime's timers
//! that is an insertion and a removal a request, and a future that waits for the shutdown is looked at whenever the
//! connection is. Here a connection looks at two atomics, and one sweep in a while wakes those that are due.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::http::{Request, Response};
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Sleep, Timer, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

use super::ServeLimits;
use super::peer::{Cause, Standing};
use crate::metrics;
use crate::outage::{Failing, OutageLog, Over};

/// Sweeps within a header timeout: it may be late by so much of it.
const SWEEPS_A_TIMEOUT: u32 = 10;

/// Of a sweep.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// Of a sweep, which also forgets the connections that are gone.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// No head is waited for.
const NEVER: u64 = u64::MAX;

/// Which part of the connections is closed at once to make room: in a flood they are not all looked at for each new one.
const PART_FOR_ROOM: usize = 32;

/// How often more connections are closed if a new one still waits.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(10);

/// After the last connection was closed to make room, it is over.
const OVER_AFTER: Duration = Duration::from_secs(10);

/// A server's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    listener: &'static str,
    /// A connection is not closed to make room before this.
    grace: Duration,
    started: Instant,
    sweeps: Interval,
    watches: Vec<Weak<Watch>>,
    made_room: Option<Instant>,
    making_room: OutageLog,
}

/// One connection, as seen by itself and by the sweep. Times are nanoseconds since the server's start.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) listener: &'static str,
    started: Instant,
    pub(super) standing: Standing,
    /// What an authenticated connection holds of its provider's share.
    pub(super) permit: OnceLock<OwnedSemaphorePermit>,
    head_deadline: AtomicU64,
    /// The last deadline that the sweep has found passed: a head that came meanwhile has a later one.
    passed_deadline: AtomicU64,
    closing: AtomicBool,
    task: AtomicWaker,
}

impl Watch {
    /// Nanoseconds since the server's start.
    pub(super) fn now(&self) -> u64 {
        nanos(self.started, Instant::now())
    }

    /// Has the connection look at this.
    pub(super) fn wake(&self) {
        self.task.wake();
    }
}

impl Connections {
    pub(super) fn new(limits: &ServeLimits) -> Self {
        let ServeLimits { listener, grace, header_timeout, .. } = *limits;
        let period = (header_timeout / SWEEPS_A_TIMEOUT).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        let mut sweeps = tokio::time::interval(period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics::connections(listener, 0, 0);
        for cause in Cause::ALL {
            metrics::connections_closed(listener, cause, 0);
        }
        let (made_room, making_room) = (None, OutageLog::default());
        Self { listener, grace, started: Instant::now(), sweeps, watches: Vec::new(), made_room, making_room }
    }

    /// Another connection.
    pub(super) fn add(&mut self) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            listener: self.listener,
            started: self.started,
            standing: Standing::new(),
            permit: OnceLock::new(),
            head_deadline: AtomicU64::new(NEVER),
            passed_deadline: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        self.watches.push(Arc::downgrade(&watch));
        watch
    }

    /// Sweeps for ever; to be cancelled.
    pub(super) async fn sweep(&mut self) {
        loop {
            self.sweeps.tick().await;
            self.look();
        }
    }

    /// Waits until there may be another connection, and closes others for it.
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

    /// Closes some of the connections whose sender is unknown: those that have been so for longest.
    pub(super) fn make_room(&mut self, cause: Cause) {
        let latest = nanos(self.started, Instant::now()).saturating_sub(nanos_of(self.grace));
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
        let closed = closable.into_iter().take(most).filter(|(since, watch)| {
            let is_closed = watch.standing.close(*since);
            if is_closed {
                watch.wake();
            }
            is_closed
        });
        let closed = u64::try_from(closed.count()).unwrap_or(u64::MAX);
        if closed > 0 {
            self.report_closed(closed, cause);
        }
    }

    /// Wakes the connections whose headers are late, and says how many connections there are.
    fn look(&mut self) {
        let now = nanos(self.started, Instant::now());
        let mut authenticated = 0;
        self.for_each(|watch| {
            authenticated += usize::from(watch.standing.is_kept());
            let deadline = watch.head_deadline.load(Ordering::Acquire);
            if deadline <= now {
                watch.passed_deadline.store(deadline, Ordering::Release);
                watch.task.wake();
            }
        });
        metrics::connections(self.listener, self.watches.len(), authenticated);
        if self.made_room.is_some_and(|last| last.elapsed() >= OVER_AFTER) {
            self.made_room = None;
            if let Some(Over { failures, lasted }) = self.making_room.succeeded(Instant::now()) {
                let (listener, seconds) = (self.listener, lasted.as_secs());
                tracing::info!(
                    listener,
                    closed = failures,
                    seconds,
                    "there is room for every connection again"
                );
            }
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

    /// Closes every connection: an idle one now, another behind its answer.
    pub(super) fn close(&mut self) {
        self.for_each(|watch| {
            watch.closing.store(true, Ordering::Release);
            watch.task.wake();
        });
    }

    fn for_each(&mut self, mut tell: impl FnMut(&Watch)) {
        self.watches.retain(|watch| watch.upgrade().inspect(|watch| tell(watch)).is_some());
    }
}

/// Runs a connection to its end.
pub(super) async fn run<Io, App, B>(
    connection: http1::Connection<Io, App>,
    watch: Arc<Watch>,
) -> hyper::Result<()>
where
    Io: Read + Write + Unpin,
    App: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let mut connection = pin!(connection);
    let mut closing = false;
    let mut has_been_read = false;
    poll_fn(|context| {
        watch.task.register(context.waker());
        if watch.standing.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if !closing && watch.closing.load(Ordering::Acquire) {
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(context);
        if !has_been_read {
            has_been_read = true;
            watch.standing.has_been_read(watch.now());
        }
        ended
    })
    .await
}

fn nanos(start: Instant, instant: Instant) -> u64 {
    nanos_of(instant.saturating_duration_since(start))
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// hyper's timer of one connection; the header timeout is all it is for.
#[derive(Clone, Debug)]
pub(super) struct HeadTimer(pub(super) Arc<Watch>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let Self(watch) = self;
        let deadline = nanos(watch.started, deadline);
        watch.head_deadline.store(deadline, Ordering::Release);
        Box::pin(HeadSleep { watch: Arc::clone(watch), deadline })
    }
}

struct HeadSleep {
    watch: Arc<Watch>,
    deadline: u64,
}

impl Sleep for HeadSleep {}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        // A later head's stays.
        let _later = self.watch.head_deadline.compare_exchange(
            self.deadline,
            NEVER,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        // The sweep wakes the connection's task.
        if self.deadline <= self.watch.passed_deadline.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

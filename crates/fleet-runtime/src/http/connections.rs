//! What a connection hears from outside: that its head takes too long, that it is to close.
//!
//! hyper's header timeout asks for a sleep for each request and drops it when the head is here; on the runtime's timers
//! that is an insertion and a removal a request, and a future that waits for the shutdown is looked at whenever the
//! connection is. Here a connection looks at two atomics, and one sweep in a while wakes those that are due.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::http::{Request, Response};
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Sleep, Timer, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::time::{Interval, MissedTickBehavior};

/// Sweeps within a header timeout: it may be late by so much of it.
const SWEEPS_A_TIMEOUT: u32 = 10;

/// Of a sweep.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// Of a sweep, which also forgets the connections that are gone.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// No head is waited for.
const NEVER: u64 = u64::MAX;

/// A server's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    started: Instant,
    sweeps: Interval,
    watches: Vec<Weak<Watch>>,
}

/// One connection, as seen by itself and by the sweep. Times are nanoseconds since the server's start.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    head_deadline: AtomicU64,
    /// The last deadline that the sweep has found passed: a head that came meanwhile has a later one.
    passed_deadline: AtomicU64,
    closing: AtomicBool,
    task: AtomicWaker,
}

impl Connections {
    pub(super) fn new(header_timeout: Duration) -> Self {
        let period = (header_timeout / SWEEPS_A_TIMEOUT).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        let mut sweeps = tokio::time::interval(period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { started: Instant::now(), sweeps, watches: Vec::new() }
    }

    /// Another connection.
    pub(super) fn add(&mut self) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            started: self.started,
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
            let now = nanos(self.started, Instant::now());
            self.for_each(|watch| {
                let deadline = watch.head_deadline.load(Ordering::Acquire);
                if deadline <= now {
                    watch.passed_deadline.store(deadline, Ordering::Release);
                    watch.task.wake();
                }
            });
        }
    }

    /// Closes every connection: an idle one now, another behind its answer.
    pub(super) fn close(&mut self) {
        self.for_each(|watch| {
            watch.closing.store(true, Ordering::Release);
            watch.task.wake();
        });
    }

    fn for_each(&mut self, tell: impl Fn(&Watch)) {
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
    poll_fn(|context| {
        watch.task.register(context.waker());
        if !closing && watch.closing.load(Ordering::Acquire) {
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}

fn nanos(start: Instant, instant: Instant) -> u64 {
    u64::try_from(instant.saturating_duration_since(start).as_nanos()).unwrap_or(NEVER)
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

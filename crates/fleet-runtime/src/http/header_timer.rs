//! The header timeout of a connection.
//!
//! hyper starts a sleep for each request and drops it when the headers are complete. With tokio's timers that is an insertion
//! and a removal for each request. Here it is two stores to an atomic value; a sweep over all connections wakes those whose
//! deadline has passed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use super::clock::NEVER;
use super::watch::Watch;

/// hyper's timer for one connection, which hyper uses for the header timeout only.
#[derive(Clone, Debug)]
pub(super) struct HeaderTimer(pub(super) Arc<Watch>);

impl Timer for HeaderTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let Self(watch) = self;
        let deadline = watch.clock.at(deadline);
        watch.header_deadline.store(deadline, Ordering::Release);
        Box::pin(HeaderSleep { watch: Arc::clone(watch), deadline })
    }
}

struct HeaderSleep {
    watch: Arc<Watch>,
    deadline: u64,
}

impl Sleep for HeaderSleep {}

impl Drop for HeaderSleep {
    fn drop(&mut self) {
        // If the next request has set another deadline, that one stays.
        let _later = self.watch.header_deadline.compare_exchange(
            self.deadline,
            NEVER,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
}

impl Future for HeaderSleep {
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

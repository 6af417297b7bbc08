//! Whether this process may receive work, and whether its tasks make progress.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::liveness::Liveness;

/// The state of this process, which its own tasks report and the admin listener shows.
#[derive(Debug, Default)]
pub struct Readiness {
    started: AtomicBool,
    stopping: AtomicBool,
    liveness: Liveness,
}

/// Where a process is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not reached everything that it needs.
    Starting,
    /// It may receive work.
    Ready,
    /// It is shutting down.
    Stopping,
}

impl Readiness {
    /// Notes that everything that the process needs has been reached.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Notes that something that the process needs to work is gone, until [`Readiness::set_started`] is called again.
    pub fn set_interrupted(&self) {
        self.started.store(false, Ordering::Release);
    }

    /// Notes that the process is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The watched tasks: `/livez` fails if one of them makes no progress.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn state(&self) -> State {
        if self.stopping.load(Ordering::Acquire) {
            State::Stopping
        } else if self.started.load(Ordering::Acquire) {
            State::Ready
        } else {
            State::Starting
        }
    }
}

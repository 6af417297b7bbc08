//! Whether this process may receive work, and whether its tasks make progress.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::liveness::Liveness;

/// The state of this process, which its own tasks report and the admin listener shows.
#[derive(Debug, Default)]
pub struct Readiness {
    started: AtomicBool,
    stopping: AtomicBool,
    outdated: AtomicBool,
    liveness: Liveness,
}

/// Where a process is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not reached everything that it needs.
    Starting,
    /// It may receive work.
    Ready,
    /// What it knows is older than it may be.
    Outdated,
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

    /// Notes whether what the process knows is older than it may be. Until this is called, it is not.
    pub fn set_outdated(&self, is_outdated: bool) {
        self.outdated.store(is_outdated, Ordering::Release);
    }

    /// The watched tasks: `/livez` fails if one of them makes no progress.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn state(&self) -> State {
        if self.stopping.load(Ordering::Acquire) {
            State::Stopping
        } else if !self.started.load(Ordering::Acquire) {
            State::Starting
        } else if self.outdated.load(Ordering::Acquire) {
            State::Outdated
        } else {
            State::Ready
        }
    }
}

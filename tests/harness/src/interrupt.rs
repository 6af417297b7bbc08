//! SIGINT and SIGTERM end a command in order: first its programs, then the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Failure, WaitError};

/// How often a wait checks its condition.
pub const POLL: Duration = Duration::from_millis(20);

/// Set by SIGINT and SIGTERM. Clones share it.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs handlers that only set a flag. Every wait checks the flag.
    ///
    /// # Errors
    ///
    /// [`Failure::Io`] if no handler can be installed.
    pub fn install() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(Failure::io("handle Ctrl-C"))?;
        }
        Ok(Self(flag))
    }

    /// Fails after a signal.
    ///
    /// # Errors
    ///
    /// [`WaitError::Interrupted`].
    pub fn check(&self) -> Result<(), WaitError> {
        if self.0.load(Ordering::Relaxed) { Err(WaitError::Interrupted) } else { Ok(()) }
    }

    /// Waits for a signal.
    pub fn wait(&self) {
        while self.check().is_ok() {
            thread::sleep(POLL);
        }
    }

    /// Waits until `condition` yields a value.
    ///
    /// # Errors
    ///
    /// [`WaitError::Interrupted`] after a signal, [`WaitError::TimedOut`] at the deadline, and the errors of `condition`.
    pub fn until<T, E: From<WaitError>>(
        &self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let end = Instant::now() + deadline;
        loop {
            self.check()?;
            if let Some(value) = condition()? {
                return Ok(value);
            }
            if Instant::now() >= end {
                let timed_out = WaitError::TimedOut { what: what.to_owned(), seconds: deadline.as_secs() };
                return Err(timed_out.into());
            }
            thread::sleep(POLL);
        }
    }

    /// Sleeps, unless a signal arrives.
    ///
    /// # Errors
    ///
    /// [`WaitError::Interrupted`].
    pub fn sleep(&self, duration: Duration) -> Result<(), WaitError> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.check()?;
            thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
        self.check()
    }
}

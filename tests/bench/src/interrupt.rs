//! Ctrl-C and SIGTERM end a measurement in order: processes first, then the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;

/// How often a wait looks up.
const POLL: Duration = Duration::from_millis(20);

/// Set by SIGINT and SIGTERM; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on both signals only set the flag, which every wait looks at.
    pub(crate) fn install() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(Failure::io("handle Ctrl-C"))?;
        }
        Ok(Self(flag))
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::measurement("interrupted")) } else { Ok(()) }
    }

    /// Waits until `ready` yields a value.
    ///
    /// # Errors
    ///
    /// After a signal, if `ready` fails, or at the deadline, saying what was waited for.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let end = Instant::now() + deadline;
        loop {
            self.check()?;
            if let Some(value) = ready()? {
                return Ok(value);
            }
            if Instant::now() >= end {
                let seconds = deadline.as_secs();
                return Err(Failure::measurement(format!("waited {seconds} s in vain for {what}")));
            }
            thread::sleep(POLL);
        }
    }

    /// Sleeps, unless a signal comes.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        let end = Instant::now() + duration;
        let over = || Ok((Instant::now() >= end).then_some(()));
        self.until("the time to pass", duration + Duration::from_secs(10), over)
    }
}

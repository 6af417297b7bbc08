//! Ctrl-C and SIGTERM end a command in order: children first, then the servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;

/// How often a wait looks up; short against what a human notices.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Set by SIGINT and SIGTERM.
#[derive(Debug)]
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
        if self.0.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) {
        while self.check().is_ok() {
            thread::sleep(POLL);
        }
    }
}

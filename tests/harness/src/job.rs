//! A child process that never outlives this program.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::Failure;
use crate::{Interrupt, POLL};

/// How long an interrupted child may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// A child in its own process group. Ctrl-C reaches it only through this program, and a signal also reaches
/// its children (such as the tests that cargo runs).
#[derive(Debug)]
pub struct Job {
    what: String,
    child: Child,
}

impl Job {
    /// Starts the command without stdin.
    pub fn start(what: impl Into<String>, command: &mut Command) -> Result<Self, Failure> {
        let what = what.into();
        let spawned = command.stdin(Stdio::null()).process_group(0).spawn();
        let child = spawned.map_err(Failure::io(format!("run {what}")))?;
        Ok(Self { what, child })
    }

    /// Runs the command and waits until it succeeds.
    pub fn run(what: impl Into<String>, command: &mut Command, interrupt: &Interrupt) -> Result<(), Failure> {
        Self::start(what, command)?.finish(interrupt, || Ok(()))
    }

    /// Waits until the child succeeds. Stops early if `meanwhile` fails.
    pub fn finish(
        mut self,
        interrupt: &Interrupt,
        mut meanwhile: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            if let Some(status) = self.status()? {
                // A child that ended because of the same Ctrl-C did not fail.
                interrupt.check()?;
                let what = std::mem::take(&mut self.what);
                return if status.success() { Ok(()) } else { Err(Failure::Exit { what, status }) };
            }
            interrupt.check()?;
            meanwhile()?;
            thread::sleep(POLL);
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, or `None` while the child runs.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(Failure::io(format!("wait for {}", self.what)))
    }

    /// Sends SIGTERM and waits. Returns `None` if the child still runs at the deadline.
    pub fn terminate(&mut self, deadline: Duration) -> Result<Option<ExitStatus>, Failure> {
        let end = Instant::now() + deadline;
        if self.status()?.is_none() {
            self.signal(Signal::TERM);
        }
        loop {
            let status = self.status()?;
            if status.is_some() || Instant::now() >= end {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The child is not reaped yet, so the group still belongs to it. If it has just ended, nothing
            // needs a signal.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !matches!(self.terminate(GRACE), Ok(Some(_))) {
            self.signal(Signal::KILL);
            drop(self.child.wait());
        }
    }
}

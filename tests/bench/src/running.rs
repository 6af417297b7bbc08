//! A child process whose output goes to files, and which ends with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use fleet_harness::Interrupt;

/// The deadline for a graceful shutdown.
const STOP_WITHIN: Duration = Duration::from_secs(50);

/// The number of log lines that a failure shows.
const TAIL_LINES: usize = 20;

/// A running child.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Running {
    /// Starts the command. Its standard input stays open until [`Running::close_stdin`].
    pub(crate) fn start(
        name: impl Into<String>,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let name = name.into();
        let unique = format!("{name}-{:08x}", fastrand::u32(..));
        let (output, log) = (folder.join(format!("{unique}.out")), folder.join(format!("{unique}.log")));
        let create =
            |path: &Path| File::create(path).map_err(Failure::io(format!("create {}", path.display())));
        command.stdin(Stdio::piped()).stdout(create(&output)?).stderr(create(&log)?);
        let child =
            command.spawn().map_err(Failure::io(format!("run {}", command.get_program().display())))?;
        Ok(Self { name, child, output, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.status()? {
            None => Ok(()),
            Some(status) => Err(self.failure(format!("ended by itself ({status})"))),
        }
    }

    /// Closes standard input, which makes the child finish.
    pub(crate) fn close_stdin(&mut self) {
        drop::<Option<ChildStdin>>(self.child.stdin.take());
    }

    /// Waits for the end of the child and parses its output.
    pub(crate) fn finish<T: DeserializeOwned>(
        mut self,
        interrupt: &Interrupt,
        deadline: Duration,
        mut meanwhile: impl FnMut() -> Result<(), Failure>,
    ) -> Result<T, Failure> {
        let what = format!("{} to end", self.name);
        let status = interrupt.until(&what, deadline, || {
            meanwhile()?;
            self.status()
        })?;
        if !status.success() {
            interrupt.check()?;
            return Err(self.failure(format!("failed ({status})")));
        }
        let text = fs::read_to_string(&self.output).map_err(Failure::io("read a child's output"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Sends SIGTERM. Requires that the child ends in time with status 0.
    pub(crate) fn stop(mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.check()?;
        self.signal(Signal::TERM);
        let what = format!("{} to end after SIGTERM", self.name);
        let status = interrupt.until(&what, STOP_WITHIN, || self.status())?;
        if status.success() {
            Ok(())
        } else {
            Err(self.failure(format!("ended with {status} after SIGTERM")))
        }
    }

    /// Kills the child, because references have no graceful shutdown.
    pub(crate) fn end(self) {
        drop(self);
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(Failure::io(format!("wait for {}", self.name)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The child is not reaped yet. If it has just ended, nothing needs a signal.
            let _ = kill_process(pid, signal);
        }
    }

    fn failure(&self, what: String) -> Failure {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let log_tail = lines.split_at(lines.len().saturating_sub(TAIL_LINES)).1.join("\n");
        Failure::Process { name: self.name.clone(), what, log_tail }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! One of the demo's two long-running processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::{MemoryGroup, free_port};

use crate::failure::Failure;
use crate::http;
use crate::interrupt::{Interrupt, POLL};
use crate::job::Job;

/// How long a start may take, the wait for the database included.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a graceful stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// How much of a log a failure shows.
const TAIL_LINES: usize = 30;

/// A process with its log in a file.
pub(super) struct Daemon {
    name: &'static str,
    job: Job,
    log: PathBuf,
    admin_port: u16,
    /// Its memory limit; removed after the process, being the last field.
    memory: Option<MemoryGroup>,
}

impl Daemon {
    /// Starts a binary without a subcommand, under a memory limit if there is one; health and metrics on a port of its
    /// own.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        memory: Option<MemoryGroup>,
        logs: &Path,
    ) -> Result<Self, Failure> {
        let log = logs.join(format!("{name}.log"));
        let doing = || format!("create {}", log.display());
        let out = File::create(&log).map_err(Failure::io(doing()))?;
        let err = out.try_clone().map_err(Failure::io(doing()))?;
        let admin_port = free_port()?;
        command.env("FLEET_ADMIN__LISTEN", format!("127.0.0.1:{admin_port}")).stdout(out).stderr(err);
        let daemon = Self { name, job: Job::start(name, &mut command)?, log, admin_port, memory };
        if let Some(memory) = &daemon.memory {
            memory.add(daemon.job.pid())?;
        }
        Ok(daemon)
    }

    /// Its port for health and metrics.
    pub(super) fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it logs.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.job.status()? {
            None => Ok(()),
            Some(_) if self.memory.as_ref().is_some_and(MemoryGroup::has_killed) => Err(Failure::Process(
                format!("{} needed more than its memory limit and was killed", self.name),
            )),
            Some(status) => Err(Failure::Died { name: self.name, status, log_tail: self.log_tail() }),
        }
    }

    /// Waits until `/readyz` answers 200.
    pub(super) fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let end = Instant::now() + READY_WITHIN;
        while !http::is_ok(self.admin_port, "/readyz") {
            interrupt.check()?;
            self.check()?;
            if Instant::now() >= end {
                let seconds = READY_WITHIN.as_secs();
                return Err(Failure::NotReady { name: self.name, seconds, log_tail: self.log_tail() });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// SIGTERM, and requires that it ends in time with exit code 0.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        match self.job.terminate(STOP_WITHIN)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                let what = format!("{} after SIGTERM", self.name);
                self.print_log_tail();
                Err(Failure::Exit { what, status })
            }
            None => {
                let seconds = STOP_WITHIN.as_secs();
                Err(Failure::NotStopped { name: self.name, seconds, log_tail: self.log_tail() })
            }
        }
    }

    /// Shows the end of its log on stderr.
    pub(super) fn print_log_tail(&self) {
        eprintln!("--- the end of {}'s log ---\n{}", self.name, self.log_tail());
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines.split_at(lines.len().saturating_sub(TAIL_LINES)).1.join("\n")
    }
}

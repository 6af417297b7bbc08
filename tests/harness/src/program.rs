//! A process of the project that is struck, watched and replaced.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::{MemoryGroup, free_port};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, Interrupt, POLL, http, log};

/// How long a first start may take.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a graceful stop may take; longer than the processes' own limit for one.
const STOP_WITHIN: Duration = Duration::from_mins(1);

/// An API or a consumer. Dropping it kills it.
pub struct Program {
    name: String,
    child: Child,
    admin_port: u16,
    /// When it got SIGTERM.
    asked_to_stop: Option<Instant>,
    /// Its memory limit. Removed after the process, as fields are dropped after `drop` has run.
    memory: Option<MemoryGroup>,
    /// Its log, as long as nobody reads it.
    _unread: Option<io::PipeReader>,
}

impl Program {
    /// Starts `command` with health and metrics on a port of its own; its output is appended to `<name>.log`.
    pub fn start(name: &str, command: Command, logs: &Path) -> Result<Self, Failure> {
        Self::start_in(None, name, command, logs)
    }

    /// As [`Program::start`], under a memory limit if there is one.
    pub fn start_in(
        memory: Option<MemoryGroup>,
        name: &str,
        mut command: Command,
        logs: &Path,
    ) -> Result<Self, Failure> {
        let path = log::path(logs, name);
        let doing = || format!("open {}", path.display());
        let out = File::options().create(true).append(true).open(&path);
        let out = out.map_err(Failure::io(doing()))?;
        command.stderr(out.try_clone().map_err(Failure::io(doing()))?).stdout(out);
        Self::spawn(memory, name, command, None)
    }

    /// As [`Program::start_in`], with a log that takes nothing: on a full disk, or in a pipe that nobody reads.
    pub fn start_unlogged(
        memory: Option<MemoryGroup>,
        name: &str,
        mut command: Command,
        is_pipe: bool,
    ) -> Result<Self, Failure> {
        let doing = "open a log that takes nothing";
        let unread = if is_pipe {
            let (unread, log) = io::pipe().map_err(Failure::io(doing))?;
            command.stderr(log.try_clone().map_err(Failure::io(doing))?).stdout(log);
            // Every line, so that the pipe is soon full.
            command.env("FLEET_LOG", "debug");
            Some(unread)
        } else {
            let full = File::options().write(true).open("/dev/full").map_err(Failure::io(doing))?;
            command.stderr(full.try_clone().map_err(Failure::io(doing))?).stdout(full);
            None
        };
        Self::spawn(memory, name, command, unread)
    }

    fn spawn(
        memory: Option<MemoryGroup>,
        name: &str,
        mut command: Command,
        unread: Option<io::PipeReader>,
    ) -> Result<Self, Failure> {
        let admin_port = free_port()?;
        command.env("FLEET_ADMIN__LISTEN", format!("127.0.0.1:{admin_port}")).stdin(Stdio::null());
        // A group of its own: Ctrl-C reaches it only through this program.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(Failure::io(format!("run {name}")))?;
        let program =
            Self { name: name.to_owned(), child, admin_port, asked_to_stop: None, memory, _unread: unread };
        if let Some(memory) = &program.memory {
            memory.add(program.pid())?;
        }
        Ok(program)
    }

    /// The name it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port for health and metrics.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `/readyz` returns 200.
    ///
    /// # Errors
    ///
    /// [`Failure::Program`] if it ends before, [`Failure::Wait`] at the deadline or after a signal.
    pub fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let what = format!("{} to be ready", self.name);
        interrupt.until(&what, READY_WITHIN, || {
            self.check()?;
            Ok(http::is_ok(self.admin_port, "/readyz", http::TIMEOUT).then_some(()))
        })
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.status()? {
            None => Ok(()),
            Some(_) if self.memory.as_ref().is_some_and(MemoryGroup::has_killed) => Err(Failure::Program(
                format!("{} needed more than its memory limit and was killed", self.name),
            )),
            Some(status) => Err(Failure::Program(format!("{} ended by itself ({status})", self.name))),
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.check()?;
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .map_err(Failure::io(format!("kill {}", self.name)))
    }

    /// SIGSTOP: its connections stay open, it does nothing.
    pub fn freeze(&mut self) -> Result<(), Failure> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<(), Failure> {
        self.signal(Signal::CONT)
    }

    /// Waits until it is up and hears signals: before that it would simply die of one.
    pub fn wait_up(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + READY_WITHIN;
        while !http::is_ok(self.admin_port, "/livez", http::TIMEOUT) && Instant::now() < end {
            self.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// SIGTERM; [`Program::has_stopped`] tells what became of it.
    pub fn ask_to_stop(&mut self) -> Result<(), Failure> {
        self.asked_to_stop = Some(Instant::now());
        self.signal(Signal::TERM)
    }

    /// Whether it has ended after SIGTERM; fails unless with exit code 0 and in time.
    pub fn has_stopped(&mut self) -> Result<bool, Failure> {
        match self.status()? {
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(Failure::Program(format!("{} ended with {status} after SIGTERM", self.name))),
            None if self.asked_to_stop.is_some_and(|at| at.elapsed() > STOP_WITHIN) => {
                let seconds = STOP_WITHIN.as_secs();
                Err(Failure::Program(format!("{} still ran {seconds} s after SIGTERM", self.name)))
            }
            None => Ok(false),
        }
    }

    /// SIGTERM, then waits until it has ended with exit status 0.
    ///
    /// # Errors
    ///
    /// [`Failure::Program`] if it does not end in time, or with another status.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.ask_to_stop()?;
        while !self.has_stopped()? {
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let waited = self.child.try_wait();
        waited.map_err(Failure::io(format!("wait for {}", self.name)))
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        // Once it is reaped, its pid may be another process'.
        self.check()?;
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| Failure::io(format!("signal {}", self.name))(errno.into()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Harmless if it has ended; SIGKILL reaches a frozen process, too.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

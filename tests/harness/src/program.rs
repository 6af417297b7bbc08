//! A process of the project that a run starts, watches, faults and replaces.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fleet_testbed::{MemoryGroup, free_port};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Failure, Interrupt, POLL, http, log};

/// The deadline for a first start.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// The deadline for a graceful shutdown. It is longer than the processes' own.
const STOP_WITHIN: Duration = Duration::from_mins(1);

/// An API or a consumer. Dropping it kills it.
pub struct Program {
    name: String,
    child: Child,
    admin_port: u16,
    /// When SIGTERM was sent.
    asked_to_stop: Option<Instant>,
    /// The memory limit. It is removed after the process has ended, because fields are dropped after `drop`
    /// has run.
    memory: Option<MemoryGroup>,
    /// The read end of a log pipe that nobody reads.
    _unread: Option<io::PipeReader>,
}

impl Program {
    /// Starts `command` with a health and metrics port of its own and appends its output to `<name>.log`.
    pub fn start(name: &str, command: Command, logs: &Path) -> Result<Self, Failure> {
        Self::start_in(None, name, command, logs)
    }

    /// Like [`Program::start`], with a memory limit if there is one.
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

    /// Like [`Program::start_in`], with a log that cannot be written: a full disk, or a pipe that nobody
    /// reads.
    pub fn start_unlogged(
        memory: Option<MemoryGroup>,
        name: &str,
        mut command: Command,
        is_pipe: bool,
    ) -> Result<Self, Failure> {
        let doing = "open an unwritable log";
        let unread = if is_pipe {
            let (unread, log) = io::pipe().map_err(Failure::io(doing))?;
            command.stderr(log.try_clone().map_err(Failure::io(doing))?).stdout(log);
            // Debug level fills the pipe soon.
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
        // In its own process group, Ctrl-C reaches the process only through this program.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(Failure::io(format!("run {name}")))?;
        let program =
            Self { name: name.to_owned(), child, admin_port, asked_to_stop: None, memory, _unread: unread };
        if let Some(memory) = &program.memory {
            memory.add(program.pid())?;
        }
        Ok(program)
    }

    /// The name that it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port for health and metrics.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `/readyz` returns 200.
    ///
    /// # Errors
    ///
    /// [`Failure::Program`] if the process ends first, [`Failure::Wait`] at the deadline or after a signal.
    pub fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let what = format!("{} to be ready", self.name);
        interrupt.until(&what, READY_WITHIN, || {
            self.check()?;
            Ok(http::is_ok(self.admin_port, "/readyz", http::TIMEOUT).then_some(()))
        })
    }

    /// Fails if the process has ended by itself.
    pub fn check(&mut self) -> Result<(), Failure> {
        match self.status()? {
            None => Ok(()),
            Some(_) if self.memory.as_ref().is_some_and(MemoryGroup::has_killed) => {
                Err(Failure::Program(format!("{} exceeded its memory limit and was killed", self.name)))
            }
            Some(status) => Err(Failure::Program(format!("{} ended by itself ({status})", self.name))),
        }
    }

    /// Sends SIGKILL and waits for the end of the process.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.check()?;
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .map_err(Failure::io(format!("kill {}", self.name)))
    }

    /// Sends SIGSTOP: the process stops working and its connections stay open.
    pub fn freeze(&mut self) -> Result<(), Failure> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT.
    pub fn thaw(&mut self) -> Result<(), Failure> {
        self.signal(Signal::CONT)
    }

    /// Waits until `/livez` returns 200. Before that the process has no signal handlers, and SIGTERM would
    /// kill it.
    pub fn wait_up(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + READY_WITHIN;
        while !http::is_ok(self.admin_port, "/livez", http::TIMEOUT) && Instant::now() < end {
            self.check()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends SIGTERM. [`Program::has_stopped`] tells the result.
    pub fn ask_to_stop(&mut self) -> Result<(), Failure> {
        self.asked_to_stop = Some(Instant::now());
        self.signal(Signal::TERM)
    }

    /// Whether the process has ended after SIGTERM. Fails if it ended with another exit status than 0, or not
    /// in time.
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

    /// Sends SIGTERM and waits until the process has ended with exit status 0.
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
        // Once the process is reaped, another process may get its pid.
        self.check()?;
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|errno| Failure::io(format!("signal {}", self.name))(errno.into()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Has no effect if the process has ended. SIGKILL also ends a frozen process.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A server process that runs in the private root.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::root::{Account, Root};
use crate::{Error, free_port, spawn};

/// How often a condition is checked.
const POLL: Duration = Duration::from_millis(10);

/// The number of log lines in an error.
const TAIL_LINES: usize = 25;

/// The text that all servers log if another process has taken their port.
const PORT_TAKEN: &str = "Address already in use";

/// How many ports are tried.
const PORT_ATTEMPTS: usize = 5;

/// How to start a server.
pub(crate) struct Launch<'a> {
    pub(crate) server: &'static str,
    pub(crate) root: &'a Root,
    pub(crate) account: Account,
    /// The signal that the kernel sends to the server when this process ends, in setpriv's notation.
    pub(crate) parent_death_signal: &'static str,
    pub(crate) argv: &'a [String],
    pub(crate) log: PathBuf,
}

/// A server that was started. Dropping this does not stop it.
#[derive(Debug)]
pub(crate) struct Process {
    server: &'static str,
    root: PathBuf,
    child: Child,
    log: PathBuf,
    /// The offset in bytes where this run's part of the log begins.
    log_start: u64,
}

impl Process {
    /// Starts the server; its output is appended to the log.
    pub(crate) fn launch(launch: Launch<'_>) -> Result<Self, Error> {
        let Launch { server, root, account, parent_death_signal, argv, log } = launch;
        let doing = || format!("open {}", log.display());
        let out = File::options().create(true).append(true).open(&log).map_err(Error::io(doing()))?;
        let log_start = out.metadata().map_err(Error::io(doing()))?.len();
        let err = out.try_clone().map_err(Error::io(doing()))?;
        let mut command = root.command_as(account, Some(parent_death_signal), argv);
        command.stdout(Stdio::from(out)).stderr(Stdio::from(err));
        let child = spawn::spawn(command).map_err(Error::io(format!("start {server} with chroot")))?;
        Ok(Self { server, root: root.path().to_owned(), child, log, log_start })
    }

    /// The server's pid. chroot and setpriv replace themselves by the server, so it is the child's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the server still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What this run logged.
    pub(crate) fn log(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start))?;
            file.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(cannot read {}: {error})", self.log.display()),
        }
    }

    /// Whether the server ended because its port was taken.
    fn port_taken(&mut self) -> bool {
        !self.is_running() && self.log().contains(PORT_TAKEN)
    }

    /// Calls `ready` repeatedly until it returns true.
    pub(crate) fn wait_until(
        &mut self,
        deadline: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        loop {
            if !self.is_running() {
                return Err(self.start_error("it ended during its start".to_owned()));
            }
            if ready(self) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(self.start_error(format!("not ready after {} s", deadline.as_secs())));
            }
            thread::sleep(POLL);
        }
    }

    /// A start error with the last lines of the log.
    pub(crate) fn start_error(&self, reason: String) -> Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.split_at(lines.len().saturating_sub(TAIL_LINES)).1;
        Error::Start {
            server: self.server,
            reason,
            log_tail: tail.join("\n"),
            root: fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone()).display().to_string(),
        }
    }

    /// Sends a signal to the server process itself.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        // Once the process is reaped, another process may get its pid.
        if !self.is_running() {
            return Err(self.control_error("it no longer runs"));
        }
        send(self.pid(), signal).map_err(|error| self.control_error(&format!("{signal:?} failed: {error}")))
    }

    /// Kills the server with SIGKILL if it still runs, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.child
            .kill()
            .and_then(|()| self.child.wait().map(drop))
            .map_err(|error| self.control_error(&format!("kill failed: {error}")))
    }

    /// Waits until the server has ended. Returns false if it still runs at the deadline.
    pub(crate) fn ended_within(&mut self, deadline: Duration) -> bool {
        holds_within(deadline, || !self.is_running())
    }

    /// An error about this running server.
    pub(crate) fn control_error(&self, reason: &str) -> Error {
        Error::Control { server: self.server, reason: reason.to_owned() }
    }
}

/// Starts a server on a free port and waits until it is ready. Retries with another port if the port was
/// taken meanwhile.
pub(crate) fn on_free_port(
    launch: impl Fn(u16) -> Result<Process, Error>,
    wait_ready: impl Fn(&mut Process, u16) -> Result<(), Error>,
) -> Result<(Process, u16), Error> {
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let mut process = launch(port)?;
        match wait_ready(&mut process, port) {
            Ok(()) => return Ok((process, port)),
            Err(_) if attempt < PORT_ATTEMPTS && process.port_taken() => attempt += 1,
            Err(error) => {
                process.kill()?;
                return Err(error);
            }
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn send(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    kill_process(pid, signal)
}

/// Whether `condition` becomes true before the deadline.
pub(crate) fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL);
    }
}

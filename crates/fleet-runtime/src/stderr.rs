//! Lines on standard error, written by a separate thread.
//!
//! The reader of standard error may be slow, stop or end, and a file may be on a full disk. The thread that logs a line never
//! waits for that: lines are put into a bounded buffer. Lines that find it full or cannot be written are dropped and counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes of waiting lines: about 4,000 lines.
const MAX_BYTES: usize = 1024 * 1024;
/// Memory of a line besides its text.
const LINE_OVERHEAD: usize = size_of::<Vec<u8>>() + 16;
/// Most time for the last lines at the end of the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a retry if another process has made standard error non-blocking and it is full.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

static LINES: Lines = Lines::new();

/// Writes `text` and a line end to standard error, after all earlier lines. Never waits and never fails.
pub fn say(text: impl Display) {
    LINES.say(format!("{text}\n").into_bytes());
}

/// Where the log goes; each write is a whole line.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.say(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// When dropped, also by a panic, waits at most one second until all lines are written.
pub(crate) struct Drain;

impl Drop for Drain {
    fn drop(&mut self) {
        let waiting = LINES.waiting();
        // Lines that a stalled reader has not read by then are lost.
        let _waited = LINES.written.wait_timeout_while(waiting, DRAIN_TIMEOUT, |waiting| waiting.bytes > 0);
    }
}

/// How many lines were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// The buffer was full.
    pub(crate) buffer_full: u64,
    /// Standard error could not be written.
    pub(crate) write_failed: u64,
}

/// Lines dropped since the process started.
pub(crate) fn dropped() -> Dropped {
    Dropped {
        buffer_full: LINES.buffer_full.load(Ordering::Relaxed),
        write_failed: LINES.write_failed.load(Ordering::Relaxed),
    }
}

struct Lines {
    waiting: Mutex<Waiting>,
    /// There are lines to write.
    more: Condvar,
    /// A line was written, or dropped because writing failed.
    written: Condvar,
    /// Whether the writing thread could be started.
    started: OnceLock<bool>,
    buffer_full: AtomicU64,
    write_failed: AtomicU64,
}

struct Waiting {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of these lines and of the one that is being written.
    bytes: usize,
}

impl Lines {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting { lines: VecDeque::new(), bytes: 0 }),
            more: Condvar::new(),
            written: Condvar::new(),
            started: OnceLock::new(),
            buffer_full: AtomicU64::new(0),
            write_failed: AtomicU64::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The buffer is consistent between any two statements.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&'static self, line: Vec<u8>) {
        if *self.started.get_or_init(|| self.start()) {
            self.push(line);
        } else if io::stderr().write_all(&line).is_err() {
            // Without threads the process is about to fail: its runtime and its admin listener need them, too.
            self.write_failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn start(&'static self) -> bool {
        thread::Builder::new().name("stderr".to_owned()).spawn(|| self.write_for_ever()).is_ok()
    }

    fn push(&self, line: Vec<u8>) {
        let cost = line.len() + LINE_OVERHEAD;
        let mut waiting = self.waiting();
        if waiting.bytes + cost > MAX_BYTES {
            self.buffer_full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes += cost;
        waiting.lines.push_back(line);
        drop(waiting);
        self.more.notify_one();
    }

    fn write_for_ever(&self) {
        let mut told = 0;
        loop {
            let line = self.next();
            let written = write_whole(&mut io::stderr(), &line);
            if written.is_err() {
                self.write_failed.fetch_add(1, Ordering::Relaxed);
            }
            let all_written = self.settle(&line);
            if written.is_ok() && all_written {
                self.tell_dropped(&mut told);
            }
        }
    }

    /// Waits for a line.
    fn next(&self) -> Vec<u8> {
        let mut waiting = self.waiting();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                return line;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a line is done; returns whether it was the last.
    fn settle(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        waiting.bytes -= line.len() + LINE_OVERHEAD;
        self.written.notify_all();
        waiting.bytes == 0
    }

    /// Logs how many lines are missing here, as soon as lines can be written again.
    fn tell_dropped(&self, told: &mut u64) {
        let dropped = self.buffer_full.load(Ordering::Relaxed) + self.write_failed.load(Ordering::Relaxed);
        if dropped > *told {
            let lines = dropped - *told;
            *told = dropped;
            tracing::warn!(
                lines,
                "log lines before this one were dropped: standard error was full, or its reader too slow"
            );
        }
    }
}

/// Like `write_all`, but waits if another process has made the pipe or terminal non-blocking.
fn write_whole(output: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_counted() {
        let lines = Lines::new();
        let line = vec![b'x'; 100 * 1024 - LINE_OVERHEAD];
        for _ in 0..15 {
            lines.push(line.clone());
        }
        assert_eq!(lines.waiting().lines.len(), 10);
        assert_eq!(lines.buffer_full.load(Ordering::Relaxed), 5);
        let first = lines.next();
        lines.push(line.clone());
        assert_eq!(lines.buffer_full.load(Ordering::Relaxed), 6, "one that is being written counts");
        assert!(!lines.settle(&first));
        lines.push(line);
        assert_eq!(lines.buffer_full.load(Ordering::Relaxed), 6);
    }

    /// Takes three bytes at a time, every other time only.
    struct Reluctant(Vec<u8>, bool);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.extend(bytes.iter().take(3));
            Ok(bytes.len().min(3))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_taken_in_pieces_is_written_whole() {
        let mut output = Reluctant(Vec::new(), false);
        write_whole(&mut output, b"a whole line\n").unwrap();
        assert_eq!(output.0, b"a whole line\n");
    }
}

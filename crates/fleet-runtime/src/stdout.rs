//! What commands print on standard output.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::exit::EXIT_FAILURE;
use crate::stderr;

/// The first failure, after which nothing more is printed.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints `text` and a line end. If that fails, the command continues its work, and [`finish`] reports the failure.
pub fn print(text: impl Display) {
    if FAILURE.get().is_none() {
        let mut output = io::stdout().lock();
        note(output.write_all(format!("{text}\n").as_bytes()).and_then(|()| output.flush()));
    }
}

/// Keeps the first failure to write to standard output.
pub(crate) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        let _earlier_one_stays = FAILURE.set(error);
    }
}

/// The exit status of a command that would end with `status`.
///
/// A reader that has closed the pipe, such as `head`, changes nothing. Any other failure is reported on standard error and
/// turns success into failure.
pub(crate) fn finish(status: ExitCode) -> ExitCode {
    note(io::stdout().flush());
    match FAILURE.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            stderr::say(format_args!(
                "cannot write to standard output: {error}; the output is incomplete: make room, or send it elsewhere"
            ));
            if status == ExitCode::SUCCESS { ExitCode::from(EXIT_FAILURE) } else { status }
        }
        Some(_) | None => status,
    }
}

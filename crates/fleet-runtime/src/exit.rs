//! How a process ends: its exit status, and the reason on standard error.

use std::fmt::Display;
use std::process::ExitCode;

use crate::stderr;

/// Exit status for a start or a run that failed.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status for a wrong command line (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Exit status for a wrong configuration (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// Says what is wrong with the command line.
pub fn refuse_command_line(problem: impl Display) -> ExitCode {
    stderr::say(problem);
    ExitCode::from(EXIT_USAGE)
}

/// Says what is wrong with the configuration of `program`.
pub fn refuse(program: &str, problem: impl Display) -> ExitCode {
    stderr::say(format_args!(
        "{problem}\nCorrect the configuration, then check it with `{program} check-config`."
    ));
    ExitCode::from(EXIT_CONFIG)
}

/// Says why the program stopped.
pub fn fail(problem: impl Display) -> ExitCode {
    stderr::say(problem);
    ExitCode::from(EXIT_FAILURE)
}

//! What the command lines of both binaries have in common.

use std::fmt::Display;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::settings::{Settings, load, variables};
use crate::{logging, stderr, stdout};

/// Exit status for a start or a run that failed.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status for a wrong command line (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Exit status for a bad configuration (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

/// The `main` of a binary: reads the command line, runs `program`, and lets what was said and printed be written.
pub fn main<Arguments: Parser>(program: impl FnOnce(Arguments) -> ExitCode) -> ExitCode {
    let _drain = stderr::Drain;
    let status = match Arguments::try_parse() {
        Ok(arguments) => program(arguments),
        Err(error) if error.use_stderr() => misused(&error),
        Err(help) => {
            stdout::note(help.print());
            ExitCode::SUCCESS
        }
    };
    stdout::finish(status)
}

fn misused(error: &clap::Error) -> ExitCode {
    let text = error.render();
    let text = if io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    refuse_command_line(text.trim_end())
}

/// Says what is wrong with the command line.
pub fn refuse_command_line(problem: impl Display) -> ExitCode {
    stderr::say(problem);
    ExitCode::from(EXIT_USAGE)
}

/// Reads the settings of `program` and starts logging.
///
/// # Errors
///
/// The exit status, after saying on standard error what is wrong.
pub fn start(program: &str, config_file: Option<&Path>) -> Result<Settings, ExitCode> {
    let settings =
        variables(std::env::vars_os()).and_then(|variables| load(config_file, variables.into_iter()));
    let settings = settings.map_err(|error| refuse(program, error))?;
    logging::start(&settings.log, settings.log_format).map_err(|error| {
        refuse(program, format!("FLEET_LOG is not a log filter: {error}; use for example `info`"))
    })?;
    Ok(settings)
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

/// Prints the configuration in effect, secrets redacted.
pub fn print_settings(settings: &Settings) {
    for (name, value) in settings.effective() {
        stdout::print(format_args!("{name}={value}"));
    }
}

/// A runtime of `threads` threads. One thread is the caller's own: tasks then wake each other without a system call.
///
/// # Errors
///
/// If the system gives no threads or file descriptors.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads <= 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(threads.max(1)).enable_all().build()
}

/// Runs `program` on a runtime of the configured size.
pub fn block_on(settings: &Settings, program: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime(settings.worker_threads) {
        Ok(runtime) => runtime.block_on(program),
        Err(error) => {
            fail(format!("cannot start the runtime: {error}; check the limits on threads and files"))
        }
    }
}

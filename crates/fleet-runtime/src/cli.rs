//! What the command lines of both binaries have in common.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use crate::logging;
use crate::settings::{Settings, load};

/// Exit status for a bad configuration (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;
/// Exit status for a start or a run that failed.
pub const EXIT_FAILURE: u8 = 1;

/// Reads the settings and starts logging.
///
/// # Errors
///
/// The exit status, after saying on standard error what is wrong.
pub fn start(config_file: Option<&Path>) -> Result<Settings, ExitCode> {
    let settings = load(config_file, std::env::vars()).map_err(refuse)?;
    logging::start(&settings.log, settings.log_format)
        .map_err(|error| refuse(format!("FLEET_LOG is not a log filter: {error}; use for example `info`")))?;
    Ok(settings)
}

/// Says what is wrong with the configuration.
pub fn refuse(problem: impl Display) -> ExitCode {
    eprintln!("{problem}\nRun the same command with `check-config` to see the configuration in effect.");
    ExitCode::from(EXIT_CONFIG)
}

/// Says why the program stopped.
pub fn fail(problem: impl Display) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(EXIT_FAILURE)
}

/// Prints the configuration in effect, secrets redacted.
pub fn print_settings(settings: &Settings) {
    for (name, value) in settings.effective() {
        println!("{name}={value}");
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

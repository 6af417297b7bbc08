//! The command line of the binaries, and the runtime that a command runs on.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use tokio::runtime::{Builder, Runtime};

pub use crate::exit::{EXIT_CONFIG, EXIT_FAILURE, EXIT_USAGE, fail, refuse, refuse_command_line};
use crate::settings::Settings;
use crate::{stderr, stdout};

/// The option that every command has.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// TOML file with settings; FLEET_… variables override it.
    #[arg(long = "config", value_name = "CONFIG", global = true)]
    pub path: Option<PathBuf>,
}

/// The `main` of a binary: parses the command line and runs `program`. At the end it waits until all output is written.
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

/// A runtime of `threads` threads. One thread is the caller's own: tasks then wake each other without a system call.
///
/// # Errors
///
/// If the system provides no threads or file descriptors.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads <= 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(threads.max(1)).enable_all().build()
}

/// Runs `program` on a runtime of the configured size.
pub fn block_on(settings: &Settings, program: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime(settings.worker_threads) {
        Ok(runtime) => runtime.block_on(program),
        Err(error) => {
            fail(format!("cannot start the runtime: {error}; check the limits on threads and open files"))
        }
    }
}

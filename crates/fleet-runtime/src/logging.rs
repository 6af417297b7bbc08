//! Log lines on standard error; no task waits for their output, see [`stderr`].

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::settings::LogFormat;
use crate::stderr;

/// Starts logging. Call it once in a process.
///
/// # Errors
///
/// If the filter cannot be parsed.
pub fn start(filter: &str, format: LogFormat) -> Result<(), ParseError> {
    // lapin logs every failed connection as an error, also those that are expected, and its errors are logged by our own code. A
    // directive for lapin in `filter` replaces this one.
    let filter = EnvFilter::try_new(format!("lapin=off,{filter}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| stderr::LogWriter)
        // Otherwise a field that cannot be formatted is reported with `eprintln!`, which blocks and panics.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start, in tests that run a binary's code in process, keeps the settings of the first one.
    let _already_started = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    log_panics();
    Ok(())
}

/// The trace id of a `traceparent`, for log lines.
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent?.split('-').nth(1)
}

/// Logs each panic as one line, which goes through the buffer like any other. The panic's message is left out unless it is a
/// constant of the source, because a formatted message may quote what was being parsed.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let said = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(left out)");
        tracing::error!(
            place,
            thread = thread.name(),
            said,
            "a panic: a defect in this program, please report it"
        );
    }));
}

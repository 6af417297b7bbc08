//! What every service needs: settings, logs, metrics, health, HTTP serving, graceful shutdown.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

pub mod admin;
pub mod cli;
mod exit;
mod health;
pub mod http;
pub mod liveness;
pub mod logging;
pub mod metrics;
pub mod open_files;
pub mod outage;
pub mod readiness;
pub mod redis_watch;
pub mod retry;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod stderr;
pub mod stdout;

//! The real binaries as processes, as operators and orchestrators see them.

mod admin_floods;
mod broken_keys;
mod commands;
mod configuration;
mod hangup;
mod health;
mod logs;
mod open_files;
mod operations;
mod outages;
pub(crate) mod program;
mod refusals;
mod rolling;
mod secrets;
mod shutdown;
mod stderr;
mod stdout;

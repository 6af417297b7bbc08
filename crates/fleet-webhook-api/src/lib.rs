//! Takes the providers' webhooks and answers as soon as Redis has them.
//!
//! A request goes through [`webhook`] (every check, in the order of the documented table), then [`group_commit`]
//! (one push for all requests that arrived while the last one was under way), then [`response`].

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

mod admission;
pub mod group_commit;
pub mod memory;
pub mod metrics;
pub mod open_files;
mod redis_watch;
mod refusals;
pub mod response;
mod secrets;
pub mod server;
pub mod source_settings;
mod unauthenticated;
pub mod webhook;

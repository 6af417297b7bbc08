//! Receives the providers' webhooks, pushes them into Redis, and responds as soon as Redis has stored them.
//!
//! The files in the order in which a webhook passes through them:
//!
//! 1. `server`: opens the sources, then accepts connections;
//! 2. `handler`: the one handler, and with it the order of the steps below;
//! 3. `arrival` and `route`: the request's id and time, and the provider that its path names;
//! 4. `checks::headers`: every check on the request headers, under the bounds of `admission`;
//! 5. `checks::body`: every check on the body, which `body_reader` reads, and the envelope;
//! 6. `shards` and `group_commit`: the choice of a queue, and one push for all webhooks that arrived during the previous push;
//! 7. `outcome_record` and `response`: what is counted and logged, and what the provider receives.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

mod admission;
mod arrival;
mod body_reader;
mod checks;
mod group_commit;
mod handler;
pub mod memory;
pub mod metrics;
pub mod open_files;
mod outcome;
mod outcome_record;
mod permits;
mod refusals;
mod request_headers;
mod response;
mod route;
mod secrets;
pub mod server;
mod shards;
mod source;
pub mod source_settings;
mod unauthenticated;

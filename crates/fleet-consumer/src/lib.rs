//! Takes batches from the queues, and stores what the providers said in both databases.
//!
//! [`service`] starts a worker for each queue. Each of its loops claims a batch ([`lease`]), parses it and folds
//! it to one row a vehicle ([`batch`]), writes it to both databases ([`write`]), and acknowledges it. Whatever fails or dies
//! in between, the batch stays leased and is taken over whole.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

pub mod batch;
pub mod commands;
pub mod connect;
pub mod database_kind;
pub mod error;
pub mod isolate;
mod lease;
pub mod metrics;
mod observe;
mod rate_limit;
pub mod service;
mod worker;
mod write;

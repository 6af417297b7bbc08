//! Takes batches from the queues and stores them in both databases.
//!
//! A batch goes through these modules, in this order:
//!
//! 1. `service` starts the workers of each queue.
//! 2. `worker` claims a batch through `lease::poller`.
//! 3. `worker::processor` keeps the lease alive while `worker::pipeline` stores the batch. `batch` parses it and folds its
//!    events to one row a vehicle. `write` writes it to both databases. If the batch crashed its consumers before, `isolate`
//!    finds its poison messages first.
//! 4. `worker::processor` acknowledges the batch.
//!
//! If anything fails or dies in between, the batch stays leased, and another consumer takes all of it over.
//!
//! `observe` and `metrics` show what happens. `commands` are for operators.

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
pub mod open_files;
mod queues;
mod rate_limit;
pub mod service;
mod worker;
mod write;

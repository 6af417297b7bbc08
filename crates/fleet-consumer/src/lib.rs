//! Takes batches from the queues, and stores what the providers said in both databases.
//!
//! A [`worker::Worker`] is a loop over one queue: take a batch, [`batch`] (parse, purely), [`fold`] (one row a vehicle,
//! purely), [`write`] (two transactions side by side), ack. Whatever fails or dies in between, the batch stays leased
//! and is taken over whole.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

pub mod audit;
pub mod batch;
mod connect;
mod drift;
pub mod explain;
pub mod fold;
mod health;
mod held;
pub mod judge;
pub mod metrics;
mod new_vehicles;
mod observe;
mod parts;
mod poll;
mod redis_calls;
pub mod replay;
mod report;
mod schemas;
pub mod service;
mod shown;
mod slices;
mod suspects;
mod throttle;
pub mod trace;
mod transactions;
mod walk;
mod witness;
pub mod worker;
mod write;

pub use witness::accept_loss;

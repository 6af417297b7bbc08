//! The programs of this workspace as processes: builds, starts, limits, queries and stops them.
//!
//! The demo, the fault suite, the rehearsal, the benchmark and `cargo xtask` share this crate. The servers
//! come from `fleet-testbed`. All calls block.

mod cargo;
mod failure;
mod interrupt;
mod job;
mod limits;
mod program;
mod quantity;
mod wait_error;

pub mod build;
pub mod command;
pub mod http;
pub mod log;

pub use cargo::Cargo;
pub use failure::Failure;
pub use interrupt::{Interrupt, POLL};
pub use job::Job;
pub use limits::Limits;
pub use program::Program;
pub use quantity::Quantity;
pub use wait_error::WaitError;

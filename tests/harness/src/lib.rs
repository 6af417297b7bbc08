//! The programs of this workspace as processes: how they are built, started, limited, asked and ended.
//!
//! Demo, fault suite, rehearsal, benchmark and `cargo xtask` share it. The servers come from `fleet-testbed`.
//! Everything here blocks.

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

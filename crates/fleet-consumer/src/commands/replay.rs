//! `fleet-consumer replay`: parse stored telemetry again.

pub mod arguments;
mod changes;
pub(crate) mod replayer;
mod summary;

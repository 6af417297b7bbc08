//! `fleet-consumer replay`: parse stored telemetry again.

pub mod arguments;
mod changes;
mod outcome;
mod page;
mod replayer;
mod summary;

//! The real binaries as processes: what operators and orchestrators see of them.

mod configuration;
mod health;
mod logs;
mod operations;
mod program;
mod shutdown;

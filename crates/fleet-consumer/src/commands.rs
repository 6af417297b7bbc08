//! The commands that operators need.

pub mod accept_loss;
mod attribute_text;
pub mod audit;
pub mod dead_letters;
pub mod explain;
pub mod migrate;
mod progress;
mod provider;
pub mod replay;
pub mod retention;
mod telemetry_url;
mod time;
pub mod trace;

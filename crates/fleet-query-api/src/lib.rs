//! Answers where the vehicles are: the whole fleet in memory, over HTTP, as a stream of changes, and on a map. It only reads.
//!
//! The files in the order in which a position passes through them:
//!
//! 1. `refresh`: reads what has changed in `vehicles`, twice a second;
//! 2. `fleet`: every vehicle, by id and by position; `remembered`: the latest changes; `knowledge`: both, and how old they are;
//! 3. `server`: accepts connections; `access`: who may ask, and how much at a time;
//! 4. `ask`: what a request asks for; `answer`: the responses, one file for each kind of request.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

mod access;
mod answer;
mod app;
mod ask;
mod fleet;
mod knowledge;
pub mod metrics;
pub mod open_files;
mod problem;
mod refresh;
mod remembered;
pub mod server;
mod vehicle;

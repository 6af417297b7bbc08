//! Integration tests over the real API, consumer, Redis and TimescaleDB; run them with `cargo xtask test`.

mod answers;
mod compose;
mod consumer;
mod http_to_sql;
mod migrations;
mod process;
mod queue;
mod readme;
mod state;
mod support;

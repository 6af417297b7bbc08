//! Consumes AMQP queues and pushes each message into the provider's queue in Redis, as the API does with webhooks.
//!
//! The files in the order in which a message passes through them:
//!
//! 1. `bridge`: connects to the broker, again and again;
//! 2. `link` and `transport`: one connection;
//! 3. `lane`: one AMQP queue; it outlives the connections;
//! 4. `subscription`: the lane's consumer on one connection;
//! 5. `intake`, `message` and `window`: from a delivery to an envelope; the envelopes that wait for a push;
//! 6. `pusher` and `shard`: the choice of a queue in Redis, and the push;
//! 7. `subscription` again: one ack for all messages of the push.
//!
//! A message is acknowledged after Redis has stored it, never before, and is never rejected: a broker counts each return of a
//! message, and quorum queues discard it after 20.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

pub mod bridge;
pub mod bridge_settings;
mod consuming;
mod fault;
mod intake;
mod lane;
mod link;
mod message;
pub mod metrics;
mod pace;
mod push_log;
mod pusher;
mod shard;
mod shard_watch;
mod standing;
mod starvation;
mod stream_log;
mod subscription;
mod transport;
mod window;

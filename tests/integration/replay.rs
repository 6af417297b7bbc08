//! `fleet-consumer replay`: telemetry has everything that is needed to rebuild the current state.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bounds;
mod released;
mod repairs;
mod stage;
mod volume;

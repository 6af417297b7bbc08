//! `fleet-consumer replay`: what telemetry keeps is enough to have the current state again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bounds;
mod released;
mod repairs;
mod stage;
mod volume;

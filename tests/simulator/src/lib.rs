//! Simulates the vehicle providers against a running `fleet-webhook-api`, and INVERS' message broker in front of a running
//! `fleet-amqp-bridge`, and checks the result by SQL.
//!
//! The simulator implements the wire formats from the providers' side only and shares no code with the
//! services. It keeps its own simple model of every vehicle and compares it with the database.

pub mod cli;
pub mod compare;
pub mod counts;
pub mod database;
pub mod error;
pub mod exactly_once;
pub mod fleet;
pub mod mix;
pub mod model;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod record;
pub mod run;
pub mod send;
pub mod settle;
pub mod stall;
pub mod tables;
pub mod vehicle;
pub mod verdict;
pub mod wire;

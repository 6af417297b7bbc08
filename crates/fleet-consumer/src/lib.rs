//! Takes batches from the queues, and stores what the providers said in both databases.
//!
//! A [`worker::Worker`] is a loop over one queue: take a batch, [`batch`] (parse, purely), [`fold`] (one row a vehicle,
//! purely), [`write`] (two transactions side by side), ack. Whatever fails or dies in between, the batch stays leased
//! and is taken over whole.

pub mod audit;
pub mod batch;
pub mod fold;
pub mod metrics;
mod poll;
pub mod replay;
mod report;
pub mod service;
mod throttle;
pub mod worker;
mod write;

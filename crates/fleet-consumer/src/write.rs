//! Writes the records of a batch to both databases.

mod already_stored;
pub(crate) mod batch;
pub(crate) mod database_health;
mod dead_letter_log;
pub(crate) mod new_vehicle_limit;
mod record_range;
pub(crate) mod slice_reader;
pub(crate) mod state;
pub(crate) mod telemetry;
pub(crate) mod transactions;
pub(crate) mod writer;

//! Writes the records of a batch to both databases.

pub(crate) mod database_health;
pub(crate) mod dead_letter_log;
pub(crate) mod new_vehicle_limit;
pub(crate) mod parts;
pub(crate) mod slice_reader;
pub(crate) mod transactions;
pub(crate) mod vehicles;
pub(crate) mod writer;

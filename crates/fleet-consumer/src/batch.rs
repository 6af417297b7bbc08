//! From a claimed batch to records, and from those to one row a vehicle: no I/O.
//!
//! [`slices`] walks through the messages of a batch, [`parse`] turns each into [`record`]s, [`fold`] turns the events among
//! them into one row a vehicle.

mod event_counts;
pub mod fold;
mod long_message;
pub mod parse;
pub mod record;
pub mod rejection;
pub(crate) mod slices;
pub(crate) mod unused_values;

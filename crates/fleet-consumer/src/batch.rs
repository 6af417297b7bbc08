//! From a claimed batch to records, and from those to one row a vehicle, without I/O.
//!
//! `slices` goes through the messages of a batch, [`parse`] turns each message into [`record`]s, and [`fold`] turns their
//! events into one row a vehicle.

mod event_counts;
pub mod fold;
mod long_message;
pub mod parse;
pub mod record;
pub mod rejection;
pub(crate) mod slices;
pub(crate) mod unused_values;

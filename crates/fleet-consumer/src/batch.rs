//! From a claimed batch to records, and from those to one row a vehicle: no I/O.

pub mod fold;
pub mod parse;
pub(crate) mod slices;
pub(crate) mod unused_values;

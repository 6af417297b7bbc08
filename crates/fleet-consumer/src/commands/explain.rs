//! `fleet-consumer explain`: which message set each attribute of a vehicle, and why later messages did not change it.

pub mod arguments;
mod explanation;
mod lookup;
mod print;

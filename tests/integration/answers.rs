//! The answers that providers get: each row of the documented table, and in which order they are decided.

mod bounds;
mod checks;
pub(crate) mod client;
mod floods;
mod hostile;
mod idle;
mod outages;
mod schemes;
mod serving;
mod settings;

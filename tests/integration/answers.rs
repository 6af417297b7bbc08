//! The API's responses to providers: each row of the documented table, and the order in which the checks are made.

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

//! `fleet-consumer trace`: what became of one webhook.

pub mod arguments;
pub(crate) mod find;
mod print;

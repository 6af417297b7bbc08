//! `fleet-consumer trace`: what became of one webhook.

pub mod arguments;
mod find;
mod message_id;
mod print;
mod stored;

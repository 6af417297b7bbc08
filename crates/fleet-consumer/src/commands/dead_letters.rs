//! `fleet-consumer dead-letters`: list, show, replay or purge dead letters.

pub mod arguments;
mod print;
mod purge;
mod replay;

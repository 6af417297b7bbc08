//! The documents are true: settings, commands, requests, queries, links, dependencies.

mod architecture;
mod commands;
mod guarantees;
mod links;
mod providers;
mod requests;
mod settings;
pub(crate) mod text;

//! `fleet-query-api`: what it answers is what the tables hold.

mod access;
mod areas;
mod away;
mod browser;
mod document;
mod elsewhere;
mod events;
mod fleet;
mod lists;
mod looks;
mod map;
mod pages;
mod problems;
mod rig;
mod schemathesis;
mod settings;
mod slow_readers;
mod streams;
mod tracks;
mod vehicles;
mod writers;

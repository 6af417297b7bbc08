//! Webhooks are posted over HTTP, and the results are read with SQL.

mod clocks;
mod dead_letters;
mod fixtures;
mod order;
pub(crate) mod scene;
mod vehicles;

//! Posted over HTTP, read by SQL.

mod clocks;
mod dead_letters;
mod fixtures;
mod order;
pub(crate) mod scene;
mod vehicles;

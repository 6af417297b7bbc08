//! Posted over HTTP, read by SQL.

mod clocks;
mod dead_letters;
mod fixtures;
mod order;
mod scene;
mod vehicles;

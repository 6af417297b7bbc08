//! Posted over HTTP, read by SQL.

mod dead_letters;
mod fixtures;
mod order;
mod scene;
mod vehicles;

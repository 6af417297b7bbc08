//! Newest wins, in Rust and in SQL alike.

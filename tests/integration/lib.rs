//! This package contains only tests: see `main.rs` beside this file.

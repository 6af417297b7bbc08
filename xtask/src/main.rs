//! The project's own commands: `cargo xtask demo | test | ci | services`.

fn main() {}

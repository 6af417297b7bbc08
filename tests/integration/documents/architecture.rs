//! ARCHITECTURE.md has a reason for every dependency, and names every crate.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;

use super::text::{read, root};

#[test]
fn the_architecture_names_every_dependency_and_every_crate() {
    let architecture = read("ARCHITECTURE.md");
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let external = dependencies
        .lines()
        .filter(|line| !line.contains("path ="))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name);
    let mut count = 0;
    for name in external {
        assert!(architecture.contains(&format!("| `{name}` |")), "{name} has no reason");
        count += 1;
    }
    assert!(count > 30, "{count} dependencies");
    for folder in ["crates", "tests"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(architecture.contains(&format!("`{folder}/{name}`")), "{folder}/{name}");
        }
    }
}

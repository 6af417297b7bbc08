//! The commands that the documents show exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::PathBuf;
use std::process::Command;

use super::text::{blocks, markdown_files, read, words};

#[test]
fn the_two_commands_stand_in_the_readme() {
    let readme = read("README.md");
    let shown = blocks(&readme, "sh").concat();
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(shown.lines().any(|line| line == command), "{command}");
    }
    let ci = read(".ci/run");
    assert!(ci.lines().any(|line| line == "cargo xtask test"), "{ci}");
}

#[test]
fn the_commands_exist() {
    let folder = std::env::var("FLEET_TEST_BIN_DIR");
    let folder = PathBuf::from(folder.expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`"));
    let lower = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    for (program, prefix) in [
        ("xtask", "cargo xtask "),
        ("fleet-consumer", "fleet-consumer "),
        ("fleet-webhook-api", "fleet-webhook-api "),
        ("fleet-amqp-bridge", "fleet-amqp-bridge "),
    ] {
        let code: String = markdown_files().iter().map(|document| code(&read(document), prefix)).collect();
        for command in words(&code, prefix, lower) {
            let subcommand = &command[prefix.len()..];
            let help = Command::new(folder.join(program)).args([subcommand, "--help"]).output();
            let help = help.unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(help.status.success(), "{command} does not exist");
        }
    }
}

/// Only what is set as code is a command: `fleet-consumer migrate`.
fn code(document: &str, prefix: &str) -> String {
    let shown = blocks(document, "sh").concat();
    let quoted = document.split('`').filter(|code| code.starts_with(prefix));
    let lines = shown.lines().map(str::trim).filter(|line| line.starts_with(prefix));
    quoted.chain(lines).flat_map(|code| [code, "\n"]).collect()
}

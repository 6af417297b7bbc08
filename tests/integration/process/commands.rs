//! The commands that our messages and help texts advise.

use std::collections::BTreeSet;

use super::program::{binary, run};
use crate::documents::text::{root, rust_files};

const BINARIES: [&str; 2] = ["fleet-webhook-api", "fleet-consumer"];

/// Commands with commands of their own.
const GROUPS: [&str; 1] = ["dead-letters"];

/// The commands of `program` that a line of source names outside of comments; documentation may become help text.
fn named(line: &str, program: &str) -> Vec<String> {
    let line = line.trim_start();
    if line.starts_with("//") && !line.starts_with("///") {
        return Vec::new();
    }
    let prefix = format!("{program} ");
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let words = |text: &str| -> Vec<String> {
        let words =
            text.split(' ').map(|word| word.split(|letter| !is_name(letter)).next().unwrap_or_default());
        words.take(2).map(str::to_owned).collect()
    };
    let commands = line.split(&prefix).skip(1).map(words).filter(|words| {
        let first = words.first();
        first.is_some_and(|first| first.starts_with(|letter: char| letter.is_ascii_lowercase()))
    });
    let command = |words: Vec<String>| {
        let depth = if GROUPS.contains(&words[0].as_str()) { 2 } else { 1 };
        words[..depth].join(" ")
    };
    commands.map(command).collect()
}

#[tokio::test]
async fn every_command_that_a_message_names_exists() {
    let files = rust_files(&root().join("crates"));
    let sources: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for program in BINARIES {
        let commands: BTreeSet<_> = sources.lines().flat_map(|line| named(line, program)).collect();
        for command in &commands {
            let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
            let ended = run(&mut binary(program, &arguments)).await;
            assert_eq!(ended.code, Some(0), "a message names `{program} {command}`, which does not exist");
        }
        assert!(program != "fleet-consumer" || commands.len() >= 5, "{commands:?}");
    }
}

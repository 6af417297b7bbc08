//! docs/runbook.md: an entry for each alert, and commands that work.

use std::collections::BTreeSet;

use super::rules::alerts;
use crate::documents::text::{anchor, blocks, headings, read};
use crate::process::program::{binary, run};

const RUNBOOK: &str = "docs/runbook.md";

/// The lines of the shell blocks that begin with this.
fn commands<'a>(runbook: &'a str, program: &'a str) -> Vec<&'a str> {
    let lines = blocks(runbook, "sh").into_iter().flat_map(str::lines);
    lines.filter(|line| line.starts_with(program)).collect()
}

#[test]
fn every_alert_has_an_entry_and_every_entry_an_alert() {
    let runbook = read(RUNBOOK);
    let entries: BTreeSet<_> = headings(&runbook)
        .filter(|heading| heading.starts_with("Fleet"))
        .map(|heading| format!("{RUNBOOK}#{}", anchor(heading)))
        .collect();
    let alerts = alerts();
    for alert in &alerts {
        assert_eq!(alert.runbook_url, format!("{RUNBOOK}#{}", anchor(&alert.name)));
        let entry = runbook.split(&format!("\n## {}\n", alert.name)).nth(1);
        let entry = entry.and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
        for part in ["**Meaning:**", "**Check:**", "**Fix:**"] {
            assert!(entry.contains(part), "{}: {part}", alert.name);
        }
    }
    assert_eq!(alerts.into_iter().map(|alert| alert.runbook_url).collect::<BTreeSet<_>>(), entries);
}

/// The parser refuses an unknown command, flag or value before it comes to `--help`.
#[tokio::test]
async fn every_command_line_of_the_consumer_is_one() {
    let runbook = read(RUNBOOK);
    let lines: BTreeSet<_> = commands(&runbook, "fleet-consumer ").into_iter().collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let words: Vec<_> = line.split_whitespace().skip(1).chain(["--help"]).collect();
        let ended = run(&mut binary("fleet-consumer", &words)).await;
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    }
    let wrong = run(&mut binary("fleet-consumer", &["dead-letters", "list", "--colour", "--help"])).await;
    assert_eq!(wrong.code, Some(64), "the check can fail: {wrong:?}");
}

/// The words of each Redis command for people on call.
pub(crate) fn redis_commands() -> Vec<Vec<String>> {
    let commands = redis_commands_as("FLEET_REDIS_URL");
    assert!(commands.len() >= 10, "{commands:?}");
    commands
}

/// The words of each Redis command for an administrator.
pub(crate) fn admin_redis_commands() -> Vec<Vec<String>> {
    redis_commands_as("ADMIN_REDIS_URL")
}

fn redis_commands_as(url: &str) -> Vec<Vec<String>> {
    let runbook = read(RUNBOOK);
    let lines = commands(&runbook, "redis-cli ");
    let named = |line: &&str| line.contains("_REDIS_URL\" ");
    assert!(lines.iter().all(named), "whose command is it? {lines:?}");
    let start = format!("redis-cli -u \"${url}\" ");
    lines.into_iter().filter_map(|line| Some(words(line.strip_prefix(&start)?))).collect()
}

fn words(command: &str) -> Vec<String> {
    // What redis-cli makes of this option of its own.
    let command = command.replace("--scan --pattern", "SCAN 0 MATCH");
    let quoted = command.split('\'').enumerate();
    let words = quoted.flat_map(|(place, text)| {
        let is_quoted = place % 2 == 1;
        if is_quoted { vec![text] } else { text.split_whitespace().collect() }
    });
    words.map(str::to_owned).collect()
}

/// The shell block in which this word stands.
pub(crate) fn script(word: &str) -> String {
    let runbook = read(RUNBOOK);
    let mut found = blocks(&runbook, "sh").into_iter().filter(|block| block.contains(word));
    let script = found.next().unwrap_or_else(|| panic!("no block has {word}")).to_owned();
    assert_eq!(found.next(), None, "{word} is in two blocks");
    script
}

/// Every query, and those statements that change something.
pub(crate) fn queries() -> (Vec<String>, Vec<String>) {
    let blocks = blocks(&read(RUNBOOK), "sql").into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (queries, changes): (Vec<_>, _) = blocks.into_iter().partition(|sql| sql.starts_with("SELECT"));
    assert!(queries.len() >= 5 && !changes.is_empty(), "{queries:?} {changes:?}");
    (queries, changes)
}

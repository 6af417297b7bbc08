//! docs/RUNBOOK.md: an entry for each alert, and commands that work.

use std::collections::BTreeSet;

use super::rules::alerts;
use crate::process::program::{binary, run};
use crate::readme::{blocks, read};
use crate::support::{TestDatabase, redis_url};

const RUNBOOK: &str = "docs/RUNBOOK.md";

/// As repositories' web pages make it from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn headings(document: &str) -> impl Iterator<Item = &str> {
    let lines = document.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| line.trim_start_matches('#').trim())
}

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
        for part in ["**Means:**", "**Look:**", "**Do:**"] {
            assert!(entry.contains(part), "{}: {part}", alert.name);
        }
    }
    assert_eq!(alerts.into_iter().map(|alert| alert.runbook_url).collect::<BTreeSet<_>>(), entries);
}

#[test]
fn links_within_the_documents_lead_somewhere() {
    for document in [RUNBOOK, "docs/OBSERVABILITY.md"] {
        let text = read(document);
        let anchors: BTreeSet<_> = headings(&text).map(anchor).collect();
        let links = text.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links {
            assert!(anchors.contains(link), "{document}: #{link}");
        }
    }
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
    assert_eq!(wrong.code, Some(2), "the check can fail: {wrong:?}");
}

#[tokio::test]
async fn every_redis_command_is_one() {
    let runbook = read(RUNBOOK);
    let client = redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let lines = commands(&runbook, "redis-cli ");
    assert!(lines.len() >= 10, "{lines:?}");
    for line in lines {
        let words = line.strip_prefix(r#"redis-cli -u "$FLEET_REDIS_URL" "#).expect(line);
        let mut words = words.split(' ').map(|word| word.trim_matches('\''));
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let answer: redis::RedisResult<redis::Value> = command.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn every_query_runs() {
    let runbook = read(RUNBOOK);
    let client = TestDatabase::migrated().await;
    let connection = client.client().await;
    let queries = blocks(&runbook, "sql");
    assert!(queries.len() >= 5, "{queries:?}");
    for query in queries {
        let ran = connection.query(query, &[]).await;
        ran.unwrap_or_else(|error| panic!("{error}: {query}"));
    }
}

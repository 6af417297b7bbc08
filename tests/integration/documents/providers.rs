//! docs/providers.md has the responses of the code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;

use fleet_providers::PROVIDERS;

use super::text::{read, section, tick_quoted};

#[test]
fn every_response_to_an_accepted_webhook_is_documented() {
    let responses = section(&read("docs/providers.md"), "Responses");
    for provider in PROVIDERS {
        let body = match provider.success.body {
            "" => "empty".to_owned(),
            body => format!("`{body}`"),
        };
        let row = format!("| `{}` | {body} |", provider.slug);
        assert!(responses.contains(&row), "{row}");
    }
}

/// The outcomes in docs/observability.md are compared with those of the running API.
#[test]
fn every_error_is_documented() {
    let metrics = read("docs/observability.md");
    let webhooks = metrics.lines().find(|line| line.starts_with("| `fleet_api_webhooks_total` |")).unwrap();
    let outcomes = webhooks.split("`outcome`: ").nth(1).unwrap().split('|').next().unwrap();
    let mut outcomes: BTreeSet<_> = tick_quoted(outcomes).collect();
    assert!(outcomes.remove("accepted"), "{outcomes:?}");

    let requests = section(&read("docs/providers.md"), "Requests");
    let rows = requests.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let errors = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let errors: BTreeSet<_> = errors.flat_map(tick_quoted).filter(|error| *error != "error").collect();
    assert_eq!(errors, outcomes);
}

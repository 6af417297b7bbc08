//! The requests of README.md and the queries of the pages work.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::process::Command;

use fleet_testbed::DatabaseLogin;

use super::text::{blocks, read, section};
use crate::support::{Fleet, TestDatabase};

/// A reader pastes the requests of README.md, then the queries of docs/queries.md.
#[tokio::test]
async fn the_requests_are_accepted_and_every_query_finds_something() {
    let by_hand = section(&read("README.md"), "Try it by hand");
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start_with(&[
        ("FLEET_DATABASE_URL", database.url()),
        ("FLEET_PROVIDERS__NIU__SECRETS", "demo-niu-token"),
        ("FLEET_PROVIDERS__SEGWAY__SECRETS", "demo-segway-secret"),
        ("FLEET_PROVIDERS__INVERS__SECRETS", "demo-invers-token"),
    ])
    .await;

    let requests = blocks(&by_hand, "bash").concat();
    assert!(requests.contains("http://127.0.0.1:8080"), "{requests}");
    let script = requests.replace("http://127.0.0.1:8080", &fleet.api);
    let run = move || Command::new("bash").args(["-euc", &script]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let output = output.expect("bash can be run");
    let answers = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{answers}\n{errors} (curl and md5sum are needed)");
    let accepted = answers.matches("HTTP/1.1 200 OK").count();
    assert_eq!(accepted, 3, "{answers}");
    fleet.settled().await;
    fleet.stop().await;

    let client = database.client_as(DatabaseLogin::Reader).await;
    let page = read("docs/queries.md");
    let queries = blocks(&page, "sql");
    assert!(queries.len() >= 6, "{queries:?}");
    for query in blocks(&by_hand, "sql").iter().chain(&queries) {
        let rows = client.query(*query, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}: {query}"));
        assert!(!rows.is_empty(), "finds nothing: {query}");
    }
    for query in blocks(&read("docs/operations.md"), "sql") {
        let ran = client.batch_execute(query).await;
        ran.unwrap_or_else(|error| panic!("{error}: {query}"));
    }
}

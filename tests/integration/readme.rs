//! The documents say what is true: settings, commands, requests, queries, dependencies.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_runtime::settings::{ConnectionUrl, ProviderSettings, Settings};
use fleet_testbed::DatabaseLogin;

use crate::support::{Fleet, TestDatabase};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows a heading, up to the next one of its level.
pub(crate) fn section(document: &str, heading: &str) -> String {
    let start = document.find(&format!("\n## {heading}\n"));
    let start = start.unwrap_or_else(|| panic!("there is no section {heading:?}"));
    let body = &document[start + heading.len() + 5..];
    body.split("\n## ").next().unwrap().to_owned()
}

/// The fenced blocks of a language.
pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What stands between single backticks.
pub(crate) fn tick_quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every word in `text` that starts with `prefix` and goes on in `rest`.
fn words<'a>(text: &'a str, prefix: &str, rest: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    let starts = text.match_indices(prefix).map(|(start, _)| &text[start..]);
    let words = starts.map(|tail| {
        let end = tail.find(|letter| !rest(letter)).unwrap_or(tail.len());
        &tail[..end]
    });
    words.filter(|word| word.len() > prefix.len()).collect()
}

/// Every setting there is, those of every provider included.
fn every_setting() -> Vec<(String, String)> {
    let mut settings = Settings::default();
    for provider in fleet_providers::PROVIDERS {
        let slug = provider.slug.to_owned();
        settings.providers.insert(slug, ProviderSettings::default());
    }
    settings.effective()
}

/// Variable and default of each row of the configuration table; an absent default is empty.
fn documented_settings(readme: &str) -> BTreeMap<String, String> {
    let section = section(readme, "Configuration");
    let rows = section.lines().filter(|line| line.starts_with("| `FLEET_"));
    let cell = |cell: &str| cell.trim().trim_matches('`').replace('–', "");
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        assert!(cells.len() == 5 && !cells[3].trim().is_empty(), "not a whole row: {row}");
        (cell(cells[1]), cell(cells[2]))
    })
    .collect()
}

#[test]
fn every_setting_stands_in_the_configuration_table_with_its_default() {
    let mut documented = documented_settings(&read("README.md"));
    for (name, default) in every_setting() {
        // A provider's settings stand there once for all providers.
        let slugs = fleet_providers::PROVIDERS.iter();
        let name = slugs.fold(name, |name, provider| {
            name.replace(&format!("__{}__", provider.slug.to_uppercase()), "__<SLUG>__")
        });
        let Some(said) = documented.get(&name) else {
            panic!("{name} is missing from the table");
        };
        let said = if name.ends_with("_URL") && !said.is_empty() {
            ConnectionUrl::from(said.as_str()).to_string()
        } else {
            said.clone()
        };
        assert_eq!(said, default, "the default of {name}");
    }
    let known = every_setting().into_iter().map(|(name, _default)| name);
    let known: BTreeSet<_> = known.collect();
    documented.retain(|name, _| !known.contains(&name.replace("<SLUG>", "NIU")));
    assert_eq!(documented, BTreeMap::new(), "settings that do not exist");
}

#[test]
fn every_variable_named_is_known() {
    const FOR_TESTS_OR_IGNORED: [&str; 2] = ["FLEET_TEST_", "FLEET_WEBHOOK_API_"];
    let known: BTreeSet<_> = every_setting().into_iter().map(|(name, _)| name).collect();
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/guarantees.md",
        "docs/observability.md",
        "docs/runbook.md",
        "docs/security.md",
    ] {
        let text = read(document).replace("<SLUG>", "NIU");
        let variable = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        for name in words(&text, "FLEET_", variable) {
            let ignored = FOR_TESTS_OR_IGNORED.iter().any(|prefix| name.starts_with(prefix));
            assert!(ignored || known.contains(name), "{document} names {name}");
        }
    }
}

/// A reader pastes the requests, then the queries: every one of them finds something.
#[tokio::test]
async fn the_requests_are_taken_and_every_query_finds_something() {
    let readme = read("README.md");
    let database = TestDatabase::migrated().await;
    let fleet = Fleet::start_with(&[
        ("FLEET_DATABASE_URL", database.url()),
        ("FLEET_PROVIDERS__NIU__SECRETS", "demo-niu-token"),
        ("FLEET_PROVIDERS__SEGWAY__SECRETS", "demo-segway-secret"),
        ("FLEET_PROVIDERS__INVERS__SECRETS", "demo-invers-token"),
    ])
    .await;

    let by_hand = section(&readme, "Try it by hand");
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
    let querying = section(&readme, "Querying current positions");
    let queries = blocks(&querying, "sql");
    assert!(queries.len() >= 5, "{queries:?}");
    for query in &queries {
        let rows = client.query(*query, &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error}: {query}"));
        assert!(!rows.is_empty(), "finds nothing: {query}");
    }
    for query in blocks(&readme, "sql") {
        let ran = client.batch_execute(query).await;
        ran.unwrap_or_else(|error| panic!("{error}: {query}"));
    }
}

#[test]
fn the_commands_exist() {
    let readme = read("README.md");
    let shown = blocks(&readme, "sh").concat();
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(shown.lines().any(|line| line == command), "{command}");
    }
    let ci = read(".ci/run");
    assert!(ci.lines().any(|line| line == "cargo xtask test"), "{ci}");

    let folder = std::env::var("FLEET_TEST_BIN_DIR");
    let folder = PathBuf::from(folder.expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`"));
    let lower = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    for (program, prefix) in [
        ("xtask", "cargo xtask "),
        ("fleet-consumer", "fleet-consumer "),
        ("fleet-webhook-api", "fleet-webhook-api "),
    ] {
        // Only what is set as code is a command: `fleet-consumer migrate`.
        let code: String = readme
            .split('`')
            .filter(|code| code.starts_with(prefix))
            .chain(shown.lines().filter(|line| line.starts_with(prefix)))
            .flat_map(|code| [code, "\n"])
            .collect();
        for command in words(&code, prefix, lower) {
            let subcommand = &command[prefix.len()..];
            let help = Command::new(folder.join(program)).args([subcommand, "--help"]).output();
            let help = help.unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(help.status.success(), "{command} does not exist");
        }
    }
}

/// Sources of the workspace, the built ones left out.
pub(crate) fn rust_files(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let paths = paths.into_iter().filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name != "target" && !name.starts_with('.')
    });
    Box::new(paths.flat_map(|path| -> Box<dyn Iterator<Item = PathBuf>> {
        if path.is_dir() {
            rust_files(&path)
        } else {
            Box::new(std::iter::once(path).filter(|path| path.extension().is_some_and(|end| end == "rs")))
        }
    }))
}

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

//! docs/configuration.md has every setting, and no document names one that does not exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use fleet_runtime::settings::{ConnectionUrl, ProviderSettings, Settings, TokenSettings};

use super::text::{markdown_files, read, words};

/// Every setting there is, those of every provider included.
fn every_setting() -> Vec<(String, String)> {
    let mut settings = Settings::default();
    for provider in fleet_providers::PROVIDERS {
        let slug = provider.slug.to_owned();
        settings.providers.insert(slug, ProviderSettings::default());
    }
    // The documents call tokens so.
    for name in ["app", "name", "local"] {
        settings.query.tokens.insert(name.to_owned(), TokenSettings::default());
    }
    settings.effective()
}

/// The placeholders of the tables, and names that they stand for.
fn filled(text: &str) -> String {
    text.replace("<SLUG>", "NIU").replace("<NAME>", "NAME")
}

/// Variable and default of each row of the tables; an absent default is empty.
fn documented_settings(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter(|line| line.starts_with("| `FLEET_"));
    let cell = |cell: &str| cell.trim().trim_matches('`').replace('–', "");
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        assert!(cells.len() == 5 && !cells[3].trim().is_empty(), "not a whole row: {row}");
        (cell(cells[1]), cell(cells[2]))
    })
    .collect()
}

#[test]
fn every_setting_is_in_the_tables_with_its_default() {
    let mut documented = documented_settings(&read("docs/configuration.md"));
    for (name, default) in every_setting() {
        // The tables have one row for a setting of every provider.
        let slugs = fleet_providers::PROVIDERS.iter();
        let name = slugs.fold(name, |name, provider| {
            name.replace(&format!("__{}__", provider.slug.to_uppercase()), "__<SLUG>__")
        });
        let names = ["APP", "NAME", "LOCAL"].iter();
        let name =
            names.fold(name, |name, token| name.replace(&format!("TOKENS__{token}__"), "TOKENS__<NAME>__"));
        let Some(said) = documented.get(&name) else {
            panic!("{name} is missing from the tables");
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
    documented.retain(|name, _| !known.contains(&filled(name)));
    assert_eq!(documented, BTreeMap::new(), "settings that do not exist");
}

#[test]
fn every_variable_named_is_known() {
    const FOR_TESTS_OR_IGNORED: [&str; 4] =
        ["FLEET_FAILPOINTS", "FLEET_TEST_", "FLEET_WEBHOOK_API_", "FLEET_QUERY_API_"];
    let known: BTreeSet<_> = every_setting().into_iter().map(|(name, _)| name).collect();
    // The other page has prefixes of variables, too: `k8s::every_variable_that_the_readme_names_is_known`.
    let documents = markdown_files().into_iter().filter(|document| document != "deploy/k8s/README.md");
    for document in documents {
        let text = filled(&read(&document));
        let variable = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        for name in words(&text, "FLEET_", variable) {
            let ignored = FOR_TESTS_OR_IGNORED.iter().any(|prefix| name.starts_with(prefix));
            assert!(ignored || known.contains(name), "{document} names {name}");
        }
    }
}

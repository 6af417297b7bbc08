//! docs/observability.md matches the real programs.

use std::collections::{BTreeMap, BTreeSet};

use super::scrape::{Families, families};
use crate::documents::text::{read, root, rust_files, section, tick_quoted};

/// One row of a table of metrics.
#[derive(Debug)]
struct Row {
    kind: String,
    unit: String,
    /// Each label's values. None if it may have any value, such as a version.
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
    meaning: String,
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

fn list(text: &str) -> BTreeSet<String> {
    tick_quoted(text).map(str::to_owned).collect()
}

/// The labels that mean the same in every metric.
fn shared_labels(document: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = section(document, "How to read the metrics");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = cells(row);
        (cells[0].trim_matches('`').to_owned(), list(cells[1]))
    })
    .collect()
}

fn documented() -> BTreeMap<String, Row> {
    let document = read("docs/observability.md");
    let shared = shared_labels(&document);
    let starts = ["| `fleet_", "| `process_"];
    let lines = document.lines().filter(|line| starts.iter().any(|start| line.starts_with(start)));
    let mut rows = BTreeMap::new();
    for line in lines {
        let cells = cells(line);
        assert_eq!(cells.len(), 6, "six cells are needed: {line}");
        assert!(!cells[5].is_empty(), "when to look at it: {line}");
        let name = cells[0].trim_matches('`').to_owned();
        let labels = cells[3].split("<br>").filter(|label| *label != "–");
        let labels = labels.map(|label| {
            let name = tick_quoted(label).next().unwrap_or_else(|| panic!("{line}"));
            let values = match label.split_once(':') {
                Some((_name, values)) => Some(list(values)),
                None if label.ends_with("(any)") => None,
                None => {
                    Some(shared.get(name).unwrap_or_else(|| panic!("{name} has no values: {line}")).clone())
                }
            };
            (name.to_owned(), values)
        });
        let (kind, unit, meaning) = (cells[1].to_owned(), cells[2].to_owned(), cells[4].to_owned());
        let row = Row { kind, unit, labels: labels.collect(), meaning };
        assert!(rows.insert(name, row).is_none(), "twice: {line}");
    }
    rows
}

fn assert_same_labels(name: &str, row: &Row, families: &Families) {
    let exported = &families[name].labels;
    let names = |labels: &mut dyn Iterator<Item = &String>| labels.cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&mut row.labels.keys()), names(&mut exported.keys()), "the labels of {name}");
    for (label, values) in &row.labels {
        if let Some(values) = values {
            assert_eq!(values, &exported[label], "the values of {label} of {name}");
        }
    }
}

#[tokio::test]
async fn every_metric_is_documented_as_it_is_exported() {
    let (documented, families) = (documented(), families().await);
    let exported: BTreeSet<_> = families.keys().collect();
    assert_eq!(documented.keys().collect::<BTreeSet<_>>(), exported);
    assert!(exported.len() > 50, "{exported:?}");
    for (name, row) in &documented {
        assert_eq!(row.kind, families[name].kind, "the type of {name}");
        assert_eq!(row.meaning, families[name].help, "the meaning of {name}");
        assert_same_labels(name, row, &families);
        let base = name.strip_suffix("_total").unwrap_or(name);
        for unit in ["seconds", "bytes", "messages"] {
            assert_eq!(row.unit == unit, base.ends_with(&format!("_{unit}")), "the unit of {name}");
        }
        assert_eq!(row.kind == "counter", name.ends_with("_total"), "the name of {name}");
    }
}

/// Only cumulative buckets can be aggregated over several replicas, and responses take between 1 and 50 ms.
#[tokio::test]
async fn latencies_are_histograms_that_are_fine_between_1_and_50_ms() {
    let database = crate::support::TestDatabase::migrated().await;
    let site = crate::process::program::Site::new(database.url());
    let mut api = crate::process::program::Program::start(&mut site.api(&[]));
    api.readiness(200).await;
    let (_status, text) = api.get("/metrics").await.unwrap();
    let series = r#"fleet_api_webhook_duration_seconds_bucket{provider="niu",outcome="accepted",le=""#;
    let bounds =
        text.lines().filter_map(|line| line.strip_prefix(series)?.split('"').next()?.parse::<f64>().ok());
    let fine = bounds.filter(|bound| (0.001..=0.05).contains(bound)).count();
    assert!(fine >= 8, "{fine} buckets between 1 and 50 ms: {text}");
}

#[test]
fn the_log_lines_are_those_of_the_code() {
    let sources: String = rust_files(&root().join("crates"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect::<Vec<_>>()
        .join("\n");
    // Joins strings that continue on the next line.
    let pieces: Vec<_> = sources.split("\\\n").map(str::trim_start).collect();
    let sources = pieces.concat();
    let document = read("docs/observability.md");
    let logs = section(&document, "Logs");
    let levels = ["error", "warn", "info", "debug"];
    let rows: Vec<_> =
        logs.lines().map(cells).filter(|cells| cells.len() == 3 && levels.contains(&cells[0])).collect();
    assert!(rows.len() > 10, "{logs}");
    for row in rows {
        let line = row[1].trim_matches('`');
        assert!(sources.contains(line), "no such log line: {line}");
    }
}

#[test]
fn the_documents_name_metrics_that_exist() {
    const PAGES: [&str; 7] = [
        "README.md",
        "docs/amqp.md",
        "docs/configuration.md",
        "docs/operations.md",
        "docs/providers.md",
        "docs/queries.md",
        "docs/security.md",
    ];
    let documented = documented();
    let mut count = 0;
    for page in PAGES {
        let text = read(page);
        let named = tick_quoted(&text).filter(|word| {
            let plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let prefixes = [
                "fleet_api_",
                "fleet_bridge_",
                "fleet_consumer_",
                "fleet_queue_",
                "fleet_runtime_",
                "fleet_query_",
            ];
            plain && prefixes.iter().any(|start| word.starts_with(start))
        });
        for name in named {
            assert!(documented.contains_key(name), "{page} names {name}");
            count += 1;
        }
    }
    assert!(count >= 8, "{count} metrics");
}

//! Queries name only metrics that the programs export.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

use super::autoscaling::autoscalers;
use crate::k8s::manifests::{Manifests, label, list, text};
use crate::k8s::{read, repository};

/// Every metric of the programs: each quoted name with the right prefix in the files that declare metrics.
fn exported() -> &'static BTreeSet<String> {
    static EXPORTED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let crates = std::fs::read_dir(repository().join("crates")).unwrap();
        let files = crates.flat_map(|folder| {
            let source = folder.unwrap().path().join("src");
            let folder = std::fs::read_dir(source.join("metrics")).into_iter().flatten();
            folder.map(|file| file.unwrap().path()).chain([source.join("metrics.rs")])
        });
        let sources: String = files.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        let quoted = sources.split('"');
        quoted.filter(|text| text.starts_with("fleet_") && is_name(text)).map(str::to_owned).collect()
    });
    &EXPORTED
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The metrics with this project's prefix that `text` names and no program exports.
pub(crate) fn unexported(text: &str) -> Vec<String> {
    let exported = exported();
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("fleet_") && is_name(word)).collect();
    let named = named.into_iter();
    let known = |name: &&str| {
        // A histogram is exported as three series.
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        exported.contains(*name) || parts.into_iter().any(|base| exported.contains(base))
    };
    named.filter(|name| !known(name)).map(str::to_owned).collect()
}

/// The metrics that prometheus-adapter, or another provider that follows its example, derives from them.
fn derived() -> BTreeSet<String> {
    let file: Value =
        yaml_serde::from_str(&read("deploy/k8s/components/prometheus-adapter/external-rules.yaml")).unwrap();
    list(&file, "/externalRules").iter().map(|rule| text(rule, "/name/as").to_owned()).collect()
}

pub(super) fn violations(manifests: &Manifests) -> Vec<String> {
    let mut violations = Vec::new();
    let derived = derived();
    for autoscaler in autoscalers(manifests) {
        for metric in list(autoscaler, "/spec/metrics") {
            let name = text(metric, "/external/metric/name");
            if !name.is_empty() && !derived.contains(name) {
                violations.push(format!("{}: nothing provides {name}", label(autoscaler)));
            }
        }
        violations.extend(keda_sources(autoscaler));
        let queries =
            list(autoscaler, "/spec/triggers").iter().map(|trigger| text(trigger, "/metadata/query"));
        violations.extend(queries.flat_map(unexported).map(|name| format!("{}: {name}", label(autoscaler))));
    }
    for rule in manifests.of_kind("PrometheusRule") {
        let rules = list(rule, "/spec/groups").iter().flat_map(|group| list(group, "/rules"));
        let asked = rules.flat_map(|rule| unexported(text(rule, "/expr")));
        violations.extend(asked.map(|name| format!("{}: {name}", label(rule))));
    }
    // Checks Grafana's dashboard and the rules of prometheus-adapter. Skips scripts, in which names with this prefix
    // are roles.
    for config_map in manifests.of_kind("ConfigMap") {
        for (file, content) in config_map.pointer("/data").and_then(Value::as_object).into_iter().flatten() {
            if file.ends_with(".sh") {
                continue;
            }
            let content = content.as_str().unwrap_or_default();
            let content = if file == "external-rules.yaml" { series(content) } else { content.to_owned() };
            violations.extend(unexported(&content).into_iter().map(|name| format!("{file}: {name}")));
        }
    }
    violations
}

/// The adapter's rules without the lines that name the derived metrics.
fn series(rules: &str) -> String {
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with("as:"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The list and the leases of every queue must be triggers, every trigger must be in the formula, and every name in the
/// formula must be a trigger.
fn keda_sources(scaled: &Value) -> Vec<String> {
    if text(scaled, "/kind") != "ScaledObject" {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let triggers = list(scaled, "/spec/triggers");
    let keys: BTreeSet<_> = triggers
        .iter()
        .map(|trigger| text(trigger, "/metadata/listName"))
        .filter(|key| !key.is_empty())
        .collect();
    let wanted = fleet_providers::PROVIDERS.iter().flat_map(|provider| {
        // As many shards as have a trigger.
        let of_shards = format!("fleet:{{{}.", provider.slug);
        let shards = keys.iter().filter(|key| key.starts_with(&of_shards) && key.ends_with(":queue")).count();
        fleet_queue::Queue::all(provider.slug, u8::try_from(shards).unwrap_or(u8::MAX))
    });
    let wanted = wanted.flat_map(|queue| ["queue", "leases"].map(|part| format!("fleet:{{{queue}}}:{part}")));
    let wanted: BTreeSet<_> = wanted.collect();
    if !keys.iter().map(|key| (*key).to_owned()).eq(wanted.iter().cloned()) {
        violations.push(format!("{}: the queues are {wanted:?}, not {keys:?}", label(scaled)));
    }
    let formula = text(scaled, "/spec/advanced/scalingModifiers/formula");
    let words = formula.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let used: BTreeSet<_> = words
        .filter(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()) && *word != "max")
        .collect();
    let names: BTreeSet<_> =
        triggers.iter().map(|trigger| text(trigger, "/name")).filter(|name| !name.is_empty()).collect();
    if used != names {
        violations.push(format!("{}: the formula has {used:?}, the triggers are {names:?}", label(scaled)));
    }
    violations
}

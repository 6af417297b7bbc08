//! Every policy detects what it is for: the test breaks a manifest in memory and expects the policy to name the
//! violation.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::manifests::{Manifests, text};
use super::policies;
use super::read;
use super::render::overlay;

/// One manifest, one change, one violation.
#[derive(Debug, Deserialize)]
#[serde(from = "(String, String, String, Value, String)")]
struct Broken {
    folder: String,
    object: String,
    pointer: String,
    /// Null removes the value.
    value: Value,
    expected: String,
}

impl From<(String, String, String, Value, String)> for Broken {
    fn from((folder, object, pointer, value, expected): (String, String, String, Value, String)) -> Self {
        Self { folder, object, pointer, value, expected }
    }
}

/// Sets, adds or removes the value at a JSON pointer.
fn change(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} has no parent"));
    match parent {
        Value::Array(items) => {
            let index: usize = key.parse().unwrap();
            if value.is_null() {
                items.remove(index);
            } else if index < items.len() {
                items[index] = value.clone();
            } else {
                items.push(value.clone());
            }
        }
        Value::Object(fields) if value.is_null() => {
            fields.remove(&key).unwrap_or_else(|| panic!("no {pointer}"));
        }
        Value::Object(fields) => drop(fields.insert(key, value.clone())),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            panic!("{pointer} is in {other}")
        }
    }
}

/// Whether `found` is `name`, with or without the ten characters that kustomize appends to generated names.
fn is_named(found: &str, name: &str) -> bool {
    let rest = found.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('-') && rest.len() == 11))
}

fn apply(broken: &Broken) -> Manifests {
    let mut manifests = overlay(&broken.folder).clone();
    let (kind, name) = broken.object.split_once('/').unwrap();
    let is_meant =
        |object: &&mut Value| text(object, "/kind") == kind && is_named(text(object, "/metadata/name"), name);
    let object = manifests.objects.iter_mut().find(is_meant);
    let object = object.unwrap_or_else(|| panic!("{} has no {}", broken.folder, broken.object));
    change(object, &broken.pointer, &broken.value);
    manifests
}

/// That the unchanged manifests have no violations is tested by `every_overlay_keeps_every_policy`.
#[test]
fn every_policy_finds_what_breaks_it() {
    let table: BTreeMap<String, Vec<Broken>> =
        yaml_serde::from_str(&read("tests/integration/k8s/breakage.yaml")).unwrap();
    let tried: BTreeSet<_> = table.keys().map(String::as_str).collect();
    assert_eq!(tried, policies::ALL.iter().map(|(name, _)| *name).collect(), "every policy is tried");
    for (policy, violated) in policies::ALL {
        for broken in &table[policy] {
            let found = violated(&apply(broken));
            let named = found.iter().any(|line| line.contains(&broken.expected));
            assert!(named, "{policy}: {broken:?}: {found:?}");
        }
    }
}

//! Finds every key that does not exist or has a value of the wrong type.

use config::builder::DefaultState;
use config::{Config, Value, ValueKind};

use super::names::environment_name;
use super::schema::Settings;

/// Deserialising stops at the first error, so each key is tried alone, on top of the defaults.
pub(super) fn wrong_keys(given: &Config) -> Vec<String> {
    let mut leaves = Vec::new();
    collect_leaves("", &given.cache, &mut leaves);
    let mut errors: Vec<_> = leaves
        .into_iter()
        .filter_map(|(key, value)| {
            let alone = Config::builder()
                .set_override(&key, value)
                .and_then(config::ConfigBuilder::<DefaultState>::build);
            let error = alone.and_then(Config::try_deserialize::<Settings>).err()?;
            let error = of_a_provider(&key)
                .or_else(|| of_a_token(&key))
                .map_or_else(|| error.to_string(), str::to_owned);
            Some(format!("{} ({key}): {error}", environment_name(&key)))
        })
        .collect();
    errors.sort();
    errors
}

/// The error for a wrong value below `providers`, which must not be shown, because it may be a misplaced secret. `None` for keys
/// that do not exist, whose error shows only their names.
fn of_a_provider(key: &str) -> Option<&'static str> {
    let mut names = key.split('.');
    if names.next() != Some("providers") {
        return None;
    }
    match (names.next(), names.next(), names.next()) {
        (None | Some(_), None, _) => Some(
            "this is no setting; name one, such as FLEET_PROVIDERS__NIU__SECRETS (the value is not shown, as it may be a secret)",
        ),
        (_, Some("max_backlog_bytes"), None) => {
            Some("must be a number of bytes (the value is not shown, as it may be a secret)")
        }
        (_, Some("max_new_vehicles_per_minute"), None) => {
            Some("must be a number of vehicles (the value is not shown, as it may be a secret)")
        }
        (_, Some("shards"), None) => {
            Some("must be a number from 1 to 64 (the value is not shown, as it may be a secret)")
        }
        (_, Some(_), _) => None,
    }
}

/// As [`of_a_provider`], below `query.tokens`.
fn of_a_token(key: &str) -> Option<&'static str> {
    let name = key.strip_prefix("query.tokens")?;
    (!name.trim_start_matches('.').contains('.')).then_some(
        "this is no setting; name one, such as FLEET_QUERY__TOKENS__APP__SECRETS (the value is not shown, as it may be a secret)",
    )
}

fn collect_leaves(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    if let ValueKind::Table(table) = &value.kind {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect_leaves(&path, value, leaves);
        }
    } else {
        leaves.push((path.to_owned(), value.clone()));
    }
}

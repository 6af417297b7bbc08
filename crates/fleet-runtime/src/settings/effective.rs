//! Shows the settings.

use super::names::environment_name;
use super::schema::Settings;

impl Settings {
    /// Every setting with its value in effect, secrets redacted: variable, value.
    pub fn effective(&self) -> Vec<(String, String)> {
        fn flatten(path: &str, value: &serde_json::Value, lines: &mut Vec<(String, String)>) {
            match value {
                serde_json::Value::Object(fields) => {
                    for (key, value) in fields {
                        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                        flatten(&path, value, lines);
                    }
                }
                serde_json::Value::String(text) => lines.push((environment_name(path), text.clone())),
                serde_json::Value::Null => lines.push((environment_name(path), String::new())),
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::Array(_) => {
                    lines.push((environment_name(path), value.to_string()));
                }
            }
        }
        let mut lines = Vec::new();
        // Serialising plain data into memory cannot fail. If it did, nothing would be shown.
        let tree = serde_json::to_value(self).unwrap_or_default();
        flatten("", &tree, &mut lines);
        lines
    }
}

//! A reader for the numbers in flat JSON.

/// The unsigned number under `name` in a flat JSON object.
pub(super) fn json_number(object: &str, name: &str) -> Option<u64> {
    let key = format!("\"{name}\":");
    let (_, rest) = object.split_once(&key)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::json_number;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let object = r#"{"ok":true,"telemetry_rows_max":7,"telemetry_rows":6}"#;
        assert_eq!(json_number(object, "telemetry_rows"), Some(6));
        assert_eq!(json_number(object, "telemetry_rows_max"), Some(7));
        assert_eq!(json_number(object, "rows"), None);
        assert_eq!(json_number(object, "ok"), None);
    }
}

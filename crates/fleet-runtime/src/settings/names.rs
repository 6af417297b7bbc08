//! The names of the variables.

/// The variable that sets `key`: `api.listen` is `FLEET_API__LISTEN`.
pub fn environment_name(key: &str) -> String {
    format!("FLEET_{}", key.replace('.', "__").to_uppercase())
}

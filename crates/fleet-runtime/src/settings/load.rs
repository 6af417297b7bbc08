//! Reading the settings.

use std::ffi::OsString;
use std::path::Path;

use config::{Config, Environment, File, FileFormat, Map, Value, ValueKind};

use super::check::problems;
use super::error::SettingsError;
use super::keys::wrong_keys;
use super::schema::Settings;

/// Variables that are not settings: those of the tests, and those that Kubernetes derives from the names of Services.
const IGNORED: [&str; 3] = ["FLEET_TEST_", "FLEET_WEBHOOK_API_", "FLEET_QUERY_API_"];

/// The variables whose names begin with `FLEET_`; others may hold any bytes.
///
/// # Errors
///
/// Every variable whose name or value is not UTF-8, at once.
pub fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    for (name, value) in all.filter(|(name, _value)| name.as_encoded_bytes().starts_with(b"FLEET_")) {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => variables.push((name, value)),
            (Ok(name), Err(_secret)) => errors.push(format!("{name}: the value is not UTF-8")),
            (Err(name), _) => errors.push(format!("{}: the name is not UTF-8", name.to_string_lossy())),
        }
    }
    if errors.is_empty() { Ok(variables) } else { Err(SettingsError(errors)) }
}

/// Reads the settings from the defaults, the TOML file and the variables; later ones override earlier ones.
///
/// # Errors
///
/// Every unknown key and every value of the wrong type, at once.
pub fn load(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Settings, SettingsError> {
    let variables: Map<String, String> = variables
        .filter(|(name, _value)| name.starts_with("FLEET_"))
        .filter(|(name, _value)| !IGNORED.iter().any(|ignored| name.starts_with(ignored)))
        .collect();
    let environment =
        Environment::with_prefix("FLEET").prefix_separator("_").separator("__").source(Some(variables));
    let mut builder = Config::builder();
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml).required(true));
    }
    let given = builder.add_source(environment).build();
    let mut given = given.map_err(|error| SettingsError(vec![without_source_lines(&error.to_string())]))?;
    trim(&mut given.cache);

    let errors = wrong_keys(&given);
    if !errors.is_empty() {
        return Err(SettingsError(errors));
    }
    let settings: Settings =
        given.try_deserialize().map_err(|error| SettingsError(vec![error.to_string()]))?;
    let problems = problems(&settings);
    if problems.is_empty() { Ok(settings) } else { Err(SettingsError(problems)) }
}

/// Removes the lines of the file that a TOML parser quotes, because they may hold secrets. The line numbers stay.
fn without_source_lines(error: &str) -> String {
    let is_quoted = |line: &&str| {
        let gutter = line.split_once('|').map(|(gutter, _source)| gutter.trim());
        gutter.is_some_and(|gutter| gutter.bytes().all(|byte| byte.is_ascii_digit()))
    };
    error.lines().filter(|line| !is_quoted(line)).collect::<Vec<_>>().join("\n")
}

/// Removes white space around every text: files with secrets or variables often end with a line end.
fn trim(value: &mut Value) {
    match &mut value.kind {
        ValueKind::String(text) => *text = text.trim().to_owned(),
        ValueKind::Table(table) => table.values_mut().for_each(trim),
        ValueKind::Array(values) => values.iter_mut().for_each(trim),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => {}
    }
}

#[cfg(test)]
mod tests;

//! `fleet-consumer migrate`: bring both databases to the schema this version needs.

use std::process::ExitCode;

use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_store::Schema;

use crate::connect::options;

/// Runs the command.
pub async fn run(settings: &Settings) -> ExitCode {
    let telemetry_url = settings.telemetry_database_url.as_ref().unwrap_or(&settings.database_url);
    for (schema, url) in [(Schema::State, &settings.database_url), (Schema::Telemetry, telemetry_url)] {
        match fleet_store::migrate(&options(settings, url), schema).await {
            Ok(applied) if applied.is_empty() => print(format_args!("{schema:?} at {url}: nothing to do")),
            Ok(applied) => print(format_args!("{schema:?} at {url}: applied {}", applied.join(", "))),
            Err(error) => return cli::fail(format!("{schema:?} at {url}: {error}")),
        }
    }
    ExitCode::SUCCESS
}

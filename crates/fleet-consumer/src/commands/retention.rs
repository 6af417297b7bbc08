//! `fleet-consumer retention`: delete what is past its retention.

use std::process::ExitCode;
use std::time::Duration;

use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_store::{Expired, Retention, RetentionPeriods, StoreError};

use crate::connect::Databases;

/// Runs the command.
pub async fn run(settings: &Settings) -> ExitCode {
    match expire(settings).await {
        Ok(Expired { chunks, dead_letters, settled_batches, unstored_messages }) => {
            print(format_args!(
                "removed {chunks} days of telemetry, {dead_letters} dead letters, {settled_batches} settled batches, notes of \
                 {unstored_messages} messages"
            ));
            ExitCode::SUCCESS
        }
        Err(error) => cli::fail(error),
    }
}

async fn expire(settings: &Settings) -> Result<Expired, StoreError> {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let periods = RetentionPeriods {
        telemetry: days(settings.retention.telemetry_days),
        dead_letters: days(settings.retention.dead_letter_days),
        settled_batches: days(settings.retention.settled_batch_days),
    };
    let databases = Databases::new(settings)?;
    Retention::new(databases.state, databases.telemetry).expire(periods).await
}

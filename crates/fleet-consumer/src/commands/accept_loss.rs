//! `fleet-consumer accept-loss`: accept that webhooks are unaccounted for, so that `audit` balances again.

use std::process::ExitCode;

use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_store::WitnessStore;

use crate::connect::Databases;
use crate::error::ConsumerError;
use crate::observe::witness::{Witnesses, queue_prefix, unsigned};
use crate::queues::KnownQueues;

/// Runs the command.
pub async fn run(settings: &Settings) -> ExitCode {
    match accept_loss(settings).await {
        Ok(accepted) if accepted.is_empty() => {
            print("nothing is unaccounted for");
            ExitCode::SUCCESS
        }
        Ok(accepted) => {
            for (queue, messages) in accepted {
                print(format_args!("{queue}: accepted the loss of up to {messages} webhooks"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => cli::fail(error),
    }
}

/// Accepts for good what is unaccounted for. Returns, by queue, how many webhooks at most.
///
/// # Errors
///
/// [`ConsumerError`] if the state database cannot be used.
pub async fn accept_loss(settings: &Settings) -> Result<Vec<(String, u64)>, ConsumerError> {
    let databases = Databases::new(settings)?;
    // Include what has just been lost. A failure is no reason to stop: operators may accept a loss while Redis is down.
    let known = KnownQueues::open(settings)?;
    let looked = Witnesses::new(settings, &databases, known).look().await;
    let failed =
        looked.map_or_else(|error| Some(error.to_string()), |looked| Some(looked.failed?.to_string()));
    if let Some(error) = failed {
        tracing::warn!(error, "could not look at every queue first, so a loss in the others is not accepted");
    }
    let store = WitnessStore::new(databases.state);
    let accepted = store.accept_loss(&queue_prefix(&settings.queue.prefix)).await?;
    Ok(accepted.into_iter().map(|lost| (lost.queue, unsigned(lost.missing))).collect())
}

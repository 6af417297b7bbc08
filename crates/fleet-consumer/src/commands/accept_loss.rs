//! `fleet-consumer accept-loss`: take note of webhooks that are unaccounted for.

use fleet_runtime::settings::Settings;
use fleet_store::WitnessStore;

use crate::connect::Databases;
use crate::error::ConsumerError;
use crate::observe::witness::{Witnesses, queue_prefix, unsigned};

/// Takes note, for good, of what is unaccounted for: by queue, how many webhooks at most.
///
/// # Errors
///
/// [`ConsumerError`] if the state database cannot be asked.
pub async fn accept_loss(settings: &Settings) -> Result<Vec<(String, u64)>, ConsumerError> {
    let databases = Databases::new(settings)?;
    // What has just been lost on purpose is to be among it. People may also accept while Redis is away.
    if let Err(error) = Witnesses::new(settings, &databases)?.look().await {
        tracing::warn!(%error, "could not look at the queues first");
    }
    let store = WitnessStore::new(databases.state);
    let accepted = store.accept_loss(&queue_prefix(settings)).await?;
    Ok(accepted.into_iter().map(|lost| (lost.queue, unsigned(lost.missing))).collect())
}

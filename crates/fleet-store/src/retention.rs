//! Forgetting what is old.

use std::time::Duration;

use crate::{Database, StoreError};

/// How long rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPeriods {
    /// Raw events, by `observed_at`.
    pub telemetry: Duration,
    /// Dead letters, since they last died.
    pub dead_letters: Duration,
    /// The memory of settled batches.
    pub settled_batches: Duration,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Whole chunks of telemetry.
    pub chunks: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Rows of both memories of settled batches.
    pub settled_batches: u64,
}

/// Removes what is older than its period. Safe to run at any time.
///
/// # Errors
///
/// Any [`StoreError`]; what was removed until then stays removed, run it again.
pub async fn expire(
    state: &Database,
    telemetry: &Database,
    periods: RetentionPeriods,
) -> Result<Expired, StoreError> {
    let telemetry = telemetry.connection().await?;
    let chunks = "SELECT count(*) FROM drop_chunks('telemetry', now() - make_interval(secs => $1))";
    let chunks: i64 = telemetry
        .query_one(chunks, &[&periods.telemetry.as_secs_f64()])
        .await?
        .get(0);
    let dead_letters = "DELETE FROM dead_letters WHERE last_dead_at < now() - make_interval(secs => $1)";
    let dead_letters = telemetry
        .execute(dead_letters, &[&periods.dead_letters.as_secs_f64()])
        .await?;
    let settled = periods.settled_batches.as_secs_f64();
    let telemetry_batches =
        "DELETE FROM settled_batches WHERE settled_at < now() - make_interval(secs => $1)";
    let telemetry_batches = telemetry.execute(telemetry_batches, &[&settled]).await?;
    drop(telemetry);
    let state = state.connection().await?;
    let state_batches =
        "DELETE FROM settled_state_batches WHERE settled_at < now() - make_interval(secs => $1)";
    let state_batches = state.execute(state_batches, &[&settled]).await?;
    Ok(Expired {
        chunks: u64::try_from(chunks).unwrap_or_default(),
        dead_letters,
        settled_batches: telemetry_batches + state_batches,
    })
}

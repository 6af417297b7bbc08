//! Removes dead letters.

use fleet_runtime::stdout::print;
use fleet_store::{Database, DeadLetterFilter, count_dead_letters, purge_dead_letters};

use crate::commands::progress::ProgressLines;
use crate::error::ConsumerError;

/// Removes the dead letters that match.
pub(super) async fn purge(telemetry: &Database, filter: DeadLetterFilter) -> Result<(), ConsumerError> {
    let total = count_dead_letters(telemetry, &filter).await?;
    let mut lines = ProgressLines::default();
    let progress = |removed| lines.tell(|| format!("{removed} of {total} dead letters"));
    print(format_args!("removed {} dead letters", purge_dead_letters(telemetry, &filter, progress).await?));
    Ok(())
}

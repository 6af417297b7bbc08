//! Removes dead letters.

use fleet_runtime::stdout::print;
use fleet_store::{DeadLetterFilter, DeadLetterStore};

use crate::commands::progress::ProgressLines;
use crate::error::ConsumerError;

/// Removes the dead letters that match.
pub(super) async fn purge(store: &DeadLetterStore, filter: DeadLetterFilter) -> Result<(), ConsumerError> {
    let total = store.count(&filter).await?;
    let mut lines = ProgressLines::default();
    let progress = |removed| lines.print(|| format!("{removed} of {total} dead letters"));
    print(format_args!("removed {} dead letters", store.purge(&filter, progress).await?));
    Ok(())
}

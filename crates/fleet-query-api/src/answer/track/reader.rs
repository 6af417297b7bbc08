//! Reads the pages of one track. Each caller has its share of the connections, so that none can use up those of another.

use std::sync::Arc;
use std::time::Duration;

use fleet_store::{StoreError, TrackBounds, TrackPoint, TrackStore};
use tokio::sync::Semaphore;

/// Reads a track for one caller.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) store: TrackStore,
    /// The caller's share of the connections.
    pub(super) share: Arc<Semaphore>,
    /// Most time to wait for it.
    pub(super) wait: Duration,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The caller reads too many tracks at the same time.
    #[error("the token reads as many other tracks as its share of the connections allows")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reader {
    /// The first `limit` points within the bounds.
    ///
    /// # Errors
    ///
    /// If the share is not free in time, or any [`StoreError`].
    pub(super) async fn page(&self, bounds: &TrackBounds, limit: i64) -> Result<Vec<TrackPoint>, ReadError> {
        let free = tokio::time::timeout(self.wait, self.share.acquire());
        // The semaphore is never closed.
        let _free = free.await.ok().and_then(Result::ok).ok_or(ReadError::Busy)?;
        Ok(self.store.page(bounds, limit).await?)
    }
}

//! Writes a batch to both databases at the same time.

use std::pin::pin;

use fleet_store::StoreError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lease::obtained::Origin;
use crate::write::batch::{Batch, Stored};
use crate::write::database_health::{DatabaseHealth, DatabasesHealth};
use crate::write::slice_reader::SliceReader;
use crate::write::state::StateWriter;
use crate::write::telemetry::TelemetryWriter;

/// Writes batches.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) state: StateWriter,
    pub(crate) telemetry: TelemetryWriter,
    /// Whether each database accepts batches.
    pub(crate) health: DatabasesHealth,
}

impl Writer {
    /// Writes a batch to both databases, each at its own pace. Returns once both have committed, or once one has committed
    /// and the other one is down, or the state has and telemetry waits for a lock. Until then it retries without a limit.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that retries did not or cannot help: the batch must stay leased.
    pub(crate) async fn write(
        &self,
        batch: Batch<'_>,
        slices: SliceReader<'_>,
    ) -> Result<Stored, StoreError> {
        let mut state = pin!(self.state.write(batch, slices.clone()));
        let locked = watch::Sender::new(false);
        let mut telemetry = pin!(self.telemetry.write(batch, slices, &locked));
        let tried_since = Instant::now();
        let DatabasesHealth { state: state_health, telemetry: telemetry_health } = &self.health;
        let is_tried = |health: &DatabaseHealth| {
            health.is_ready() && (batch.origin == Origin::Resumed || health.is_usable())
        };
        // While one database is down, write to the other one alone. If that one fails too, or the first one recovers, go on
        // with both.
        match (is_tried(state_health), is_tried(telemetry_health)) {
            (true, false) => tokio::select! {
                stored = &mut state => return stored.map(|()| Stored::One),
                () = state_health.waited_long_enough(tried_since) => {}
                () = telemetry_health.usable() => {}
            },
            (false, true) => tokio::select! {
                stored = &mut telemetry => return stored.map(|_written| Stored::One),
                () = telemetry_health.waited_long_enough(tried_since) => {}
                () = until_true(&locked) => {}
                () = state_health.usable() => {}
            },
            (true, true) | (false, false) => {}
        }
        tokio::select! {
            stored = &mut state => stored?,
            stored = &mut telemetry => {
                let written = stored?;
                return tokio::select! {
                    stored = state => stored.map(|()| Stored::Both(written)),
                    () = state_health.waited_long_enough(tried_since) => Ok(Stored::One),
                };
            }
        };
        tokio::select! {
            stored = telemetry => stored.map(Stored::Both),
            () = telemetry_health.waited_long_enough(tried_since) => Ok(Stored::One),
            // A chunk may be locked for minutes, for example while it is compressed.
            () = until_true(&locked) => Ok(Stored::One),
        }
    }
}

async fn until_true(flag: &watch::Sender<bool>) {
    let mut changes = flag.subscribe();
    // The sender lives as long as this future.
    let _is_true = changes.wait_for(|flag| *flag).await;
}

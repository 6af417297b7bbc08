//! Writes a batch to the telemetry database: its events, its dead letters, and notes of messages without events.

use fleet_store::{Appended, ErrorClass, StoreError, TelemetryRow, TelemetryStore};
use tokio::sync::watch;

use crate::database_kind::DatabaseKind;
use crate::write::already_stored::is_stored;
use crate::write::batch::{Batch, Written};
use crate::write::dead_letter_log::log_dead_letters;
use crate::write::record_range::{RecordRange, SliceToStore};
use crate::write::slice_reader::SliceReader;
use crate::write::transactions::{Failure, Transactions, attempt};

/// Writes events and dead letters.
#[derive(Debug)]
pub(crate) struct TelemetryWriter {
    pub(crate) telemetry: TelemetryStore,
    pub(crate) transactions: Transactions,
}

impl TelemetryWriter {
    /// Writes all of a batch. Meanwhile, `locked` says whether it waits for another transaction's lock.
    pub(crate) async fn write(
        &self,
        batch: Batch<'_>,
        mut slices: SliceReader<'_>,
        locked: &watch::Sender<bool>,
    ) -> Result<Written, StoreError> {
        let health = &self.transactions.health.telemetry;
        health.ready().await;
        let mut sum = Written::default();
        let read = || self.telemetry.settled(batch.lease.id);
        if is_stored(&self.transactions, batch, DatabaseKind::Telemetry, read).await? {
            return Ok(sum);
        }
        while let Some(slice) = slices.next().await {
            let slice = SliceToStore {
                lease_id: batch.lease.id,
                provider: batch.provider,
                slice: &slice,
                empty: &slice.empty,
                database: DatabaseKind::Telemetry,
            };
            let try_harmless = |_telemetry, at| self.telemetry.try_harmless(slice.provider, at);
            let store = async |range| {
                let stored = self.store(slice, range).await;
                let is_locked = |failure: &Failure| failure.error.class() == ErrorClass::Locked;
                locked.send_replace(stored.as_ref().is_err_and(is_locked));
                stored
            };
            sum.add(self.transactions.store_slice(slice, store, try_harmless).await?);
        }
        health.completed();
        Ok(sum)
    }

    async fn store(&self, slice: SliceToStore<'_>, range: RecordRange) -> Result<Written, Failure> {
        if range.range.start == 0 && !slice.empty.is_empty() {
            let noting = self.telemetry.note_empty(slice.provider, slice.empty);
            attempt(DatabaseKind::Telemetry, noting).await?;
        }
        if range.range.is_empty() {
            return Ok(Written::default());
        }
        let (mut rows, mut letters, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        for record in slice.records_of(&range) {
            match (&range.rejection, &record.outcome) {
                (Some(rejection), _) | (None, Err(rejection)) => {
                    letters.push(record.dead_letter(rejection));
                    dead.push((record, rejection));
                }
                (None, Ok(event)) => rows.push(TelemetryRow {
                    event,
                    message_id: record.message.message_id,
                    topic: record.message.topic,
                }),
            }
        }
        let part = slice.part(&range);
        let storing = self.telemetry.write(&part, &rows, &letters);
        let Appended { inserted, duplicate } = attempt(DatabaseKind::Telemetry, storing).await?;
        log_dead_letters(slice.provider, slice.lease_id, dead.into_iter());
        Ok(Written { inserted, duplicate, dead_lettered: letters.len() })
    }
}

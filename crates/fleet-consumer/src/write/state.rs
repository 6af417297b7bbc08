//! Writes a batch to the state database: one row a vehicle.

use std::collections::HashSet;

use fleet_providers::VehicleEvent;
use fleet_store::{DeadLetter, StateStore, StoreError, TelemetryStore, VehicleState};
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use crate::batch::fold::fold;
use crate::batch::record::Record;
use crate::batch::rejection::Rejection;
use crate::database_kind::DatabaseKind;
use crate::metrics;
use crate::write::already_stored::is_stored;
use crate::write::batch::{Batch, Written};
use crate::write::dead_letter_log::log_dead_letters;
use crate::write::new_vehicle_limit::{NewVehicleLimit, dead_letters};
use crate::write::record_range::{MAX_STATEMENT_BYTES, RecordRange, SliceToStore};
use crate::write::slice_reader::SliceReader;
use crate::write::transactions::{Failure, Transactions, attempt};

/// Writes the current state of vehicles.
#[derive(Debug)]
pub(crate) struct StateWriter {
    pub(crate) state: StateStore,
    /// For the dead letters of records that the state rejects.
    pub(crate) telemetry: TelemetryStore,
    /// How many new vehicles are stored; no limit if absent.
    pub(crate) new_vehicles: Option<NewVehicleLimit>,
    pub(crate) transactions: Transactions,
}

impl StateWriter {
    /// Writes all of a batch.
    pub(crate) async fn write(
        &self,
        batch: Batch<'_>,
        mut slices: SliceReader<'_>,
    ) -> Result<(), StoreError> {
        let health = &self.transactions.health.state;
        health.ready().await;
        let read = || self.state.settled(batch.lease.id);
        if is_stored(&self.transactions, batch, DatabaseKind::State, read).await? {
            return Ok(());
        }
        while let Some(slice) = slices.next().await {
            let slice = SliceToStore {
                lease_id: batch.lease.id,
                provider: batch.provider,
                slice: &slice,
                empty: &[],
                database: DatabaseKind::State,
            };
            let try_harmless = |database, at| self.try_harmless(database, slice.provider, at);
            self.transactions.store_slice(slice, |range| self.store(slice, range), try_harmless).await?;
        }
        health.completed();
        Ok(())
    }

    async fn store(&self, slice: SliceToStore<'_>, range: RecordRange) -> Result<Written, Failure> {
        match &range.rejection {
            Some(rejection) => self.store_rejected(slice, &range, rejection).await?,
            None => self.store_vehicles(slice, &range).await?,
        }
        // Only telemetry counts records.
        Ok(Written::default())
    }

    /// Whether the database that rejected a record accepts a harmless one.
    async fn try_harmless(
        &self,
        database: DatabaseKind,
        provider: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        match database {
            DatabaseKind::State => self.state.try_harmless(provider, at).await,
            DatabaseKind::Telemetry => self.telemetry.try_harmless(provider, at).await,
        }
    }

    /// Stores dead letters in place of the records, and notes the range as stored.
    async fn store_rejected(
        &self,
        slice: SliceToStore<'_>,
        range: &RecordRange,
        rejection: &Rejection,
    ) -> Result<(), Failure> {
        let letters: Vec<_> = slice.records_of(range).map(|record| record.dead_letter(rejection)).collect();
        self.store_letters(slice, &letters).await?;
        attempt(DatabaseKind::State, self.state.write(&slice.part(range), &[])).await?;
        // Log last: if the state fails, all of this is retried.
        let dead = slice.records_of(range).map(|record| (record, rejection));
        log_dead_letters(slice.provider, slice.lease_id, dead);
        Ok(())
    }

    /// Stores vehicles. Events of new vehicles beyond the limit become dead letters first. If the state fails then, all of
    /// this is retried.
    async fn store_vehicles(&self, slice: SliceToStore<'_>, range: &RecordRange) -> Result<(), Failure> {
        let events = || slice.records_of(range).filter_map(event);
        let mut vehicles = fold(events());
        let refused = self.beyond_limit(&vehicles).await?;
        vehicles.retain(|vehicle| !refused.contains(&vehicle.vehicle_id));
        let dead = match &self.new_vehicles {
            Some(limit) => dead_letters(limit, slice.provider, slice.records_of(range), &refused),
            None => Vec::new(),
        };
        if !dead.is_empty() {
            let letters: Vec<_> =
                dead.iter().map(|(record, rejection)| record.dead_letter(rejection)).collect();
            self.store_letters(slice, &letters).await?;
        }
        let part = slice.part(range);
        let new_vehicles = attempt(DatabaseKind::State, self.state.write(&part, &vehicles)).await?;
        let dead = dead.iter().map(|(record, rejection)| (*record, rejection));
        log_dead_letters(slice.provider, slice.lease_id, dead);
        let folded = events().filter(|event| !refused.contains(&event.vehicle_id)).count();
        metrics::writes::folded(slice.provider, folded, vehicles.len(), new_vehicles);
        Ok(())
    }

    /// Which of the vehicles are new and beyond the limit.
    async fn beyond_limit(&self, vehicles: &[VehicleState<'_>]) -> Result<HashSet<Uuid>, Failure> {
        let Some(limit) = &self.new_vehicles else { return Ok(HashSet::new()) };
        let ids: Vec<_> = vehicles.iter().map(|vehicle| vehicle.vehicle_id).collect();
        let unknown = self.state.unknown_vehicles(&ids).await;
        let unknown = unknown.map_err(|error| Failure { database: DatabaseKind::State, error })?;
        Ok(limit.refuse(&unknown, Instant::now()))
    }

    async fn store_letters(
        &self,
        slice: SliceToStore<'_>,
        letters: &[DeadLetter<'_>],
    ) -> Result<(), Failure> {
        for letters in in_pieces(letters) {
            attempt(DatabaseKind::Telemetry, self.telemetry.bury(slice.provider, letters)).await?;
        }
        Ok(())
    }
}

/// Splits dead letters so that a statement has a bounded size.
fn in_pieces<'a>(letters: &'a [DeadLetter<'a>]) -> impl Iterator<Item = &'a [DeadLetter<'a>]> {
    let mut rest = letters;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |letter: &&DeadLetter<'_>| {
            bytes += letter.envelope.len();
            bytes <= MAX_STATEMENT_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (piece, others) = rest.split_at(count);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

fn event<'a>(record: &'a Record<'a>) -> Option<&'a VehicleEvent<'a>> {
    record.outcome.as_ref().ok()
}

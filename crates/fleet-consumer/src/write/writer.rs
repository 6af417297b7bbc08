//! Storing a batch's records: two sides, each a slice at a time.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use fleet_providers::VehicleEvent;
use fleet_queue::Lease;
use fleet_store::{Appended, EmptyMessage, StateStore, StoreError, TelemetryRow, TelemetryStore};
use tokio::time::Instant;

use crate::batch::parse::Record;
use crate::batch::slices::Slice;
use crate::metrics::{DatabaseKind, timed};
use crate::write::database_health::{DatabasesHealth, DatabaseHealth};
use crate::write::dead_letter_log;
use crate::write::new_vehicle_limit::NewVehicleLimit;
use crate::write::parts::cover_batch;
use crate::write::slice_reader::SliceReader;
use crate::write::transactions::{Target, Task, gives_up, index};

/// Stores batches.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Current state.
    pub state: StateStore,
    /// Raw events and dead letters.
    pub telemetry: TelemetryStore,
    /// Whether either database takes anything.
    pub health: DatabasesHealth,
    /// How many new vehicles the state takes; without a bound if absent.
    pub new_vehicles: Option<NewVehicleLimit>,
    /// Most records in one transaction.
    pub max_records: usize,
    /// First pause after a failure; it doubles.
    pub retry_min: Duration,
    /// Longest pause.
    pub retry_max: Duration,
}

/// How far a batch has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    /// Both databases have all of it.
    Whole(Written),
    /// One database has all of its part; the other one takes nothing at the moment.
    OneSide,
}

/// A batch as it comes to the writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub lease: &'a Lease,
    pub origin: Origin,
    pub provider: &'static str,
    /// How many records all of its slices have.
    pub records: usize,
}

impl Batch<'_> {
    fn target<'b>(&self, side: DatabaseKind, slice: &'b Slice<'b>, empty: &'b [EmptyMessage]) -> Target<'b> {
        Target { lease_id: self.lease.id, provider: self.provider, slice, empty, side }
    }
}

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Just claimed: nothing of it is stored.
    Claimed,
    /// Taken over: some of it may be stored.
    TakenOver,
    /// It was set aside, and is tried also on a database that takes nothing: that is how it is found out that it does again.
    Resumed,
}

/// What became of a batch's records in telemetry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub inserted: usize,
    pub duplicate: usize,
    pub dead_lettered: usize,
}

impl Written {
    pub(crate) fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicate += other.duplicate;
        self.dead_lettered += other.dead_lettered;
    }
}

impl Writer {
    /// Stores all records on both sides, and notes the messages without any. Each side goes through the slices by itself.
    /// Returns when both have committed, or when one has and the other one's database takes nothing; otherwise retries for
    /// as long as it takes.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that a retry did not or cannot help: the batch must stay leased.
    pub(crate) async fn write(&self, batch: Batch<'_>, walk: SliceReader<'_>) -> Result<Stored, StoreError> {
        let Batch { origin, .. } = batch;
        let telemetry_walk = walk.clone();
        let mut state = pin!(async {
            self.health.state.ready().await;
            self.write_state(batch, walk).await
        });
        let mut telemetry = pin!(async {
            self.health.telemetry.ready().await;
            self.write_telemetry(batch, telemetry_walk).await
        });
        let tried_since = Instant::now();
        let DatabasesHealth { state: state_health, telemetry: telemetry_health } = &self.health;
        let is_tried =
            |health: &DatabaseHealth| health.is_ready() && (origin == Origin::Resumed || health.is_usable());
        // One side alone, as long as the other one takes nothing and this one does: its own outage must not keep the batch
        // from a database that is back.
        match (is_tried(state_health), is_tried(telemetry_health)) {
            (true, false) => tokio::select! {
                stored = &mut state => return stored.map(|_written| Stored::OneSide),
                () = state_health.waited_long_enough(tried_since) => {}
                () = telemetry_health.usable() => {}
            },
            (false, true) => tokio::select! {
                stored = &mut telemetry => return stored.map(|_written| Stored::OneSide),
                () = telemetry_health.waited_long_enough(tried_since) => {}
                () = state_health.usable() => {}
            },
            (true, true) | (false, false) => {}
        }
        tokio::select! {
            stored = &mut state => stored?,
            stored = &mut telemetry => {
                let written = stored?;
                return tokio::select! {
                    stored = state => stored.map(|_written| Stored::Whole(written)),
                    () = state_health.waited_long_enough(tried_since) => Ok(Stored::OneSide),
                };
            }
        };
        tokio::select! {
            stored = telemetry => stored.map(Stored::Whole),
            () = telemetry_health.waited_long_enough(tried_since) => Ok(Stored::OneSide),
        }
    }

    async fn write_state(&self, batch: Batch<'_>, mut walk: SliceReader<'_>) -> Result<Written, StoreError> {
        let read = || self.state.settled(batch.lease.id);
        if self.is_stored(batch, DatabaseKind::State, read).await? {
            return Ok(Written::default());
        }
        let mut sum = Written::default();
        while let Some(slice) = walk.next().await {
            sum.add(self.store_state(batch.target(DatabaseKind::State, &slice, &[])).await?);
        }
        self.health(DatabaseKind::State).completed();
        Ok(sum)
    }

    async fn store_state(&self, target: Target<'_>) -> Result<Written, StoreError> {
        let of_state = |error| (DatabaseKind::State, error);
        let store = |task: Task| async move {
            if let Some(rejection) = &task.rejection {
                let letters: Vec<_> =
                    target.records_of(&task).map(|record| record.dead_letter(rejection)).collect();
                if let Err(error) =
                    timed(DatabaseKind::Telemetry, self.telemetry.bury(target.provider, &letters)).await
                {
                    return Err((DatabaseKind::Telemetry, error));
                }
                let stored = timed(DatabaseKind::State, self.state.write(&target.part(&task), &[])).await;
                stored.map_err(of_state)?;
                // Not before: as long as the state does not take it, this is tried again.
                let buried = target.records_of(&task).map(|record| (record, rejection));
                dead_letter_log::dead_letters(target.provider, target.lease_id, buried);
            } else {
                self.store_vehicles(target, &task).await?;
            }
            // The records are telemetry's to count.
            Ok(Written::default())
        };
        self.drive(target, store).await
    }

    async fn write_telemetry(&self, batch: Batch<'_>, mut walk: SliceReader<'_>) -> Result<Written, StoreError> {
        let read = || self.telemetry.settled(batch.lease.id);
        if self.is_stored(batch, DatabaseKind::Telemetry, read).await? {
            return Ok(Written::default());
        }
        let mut sum = Written::default();
        while let Some(slice) = walk.next().await {
            sum.add(self.store_telemetry(batch.target(DatabaseKind::Telemetry, &slice, &slice.empty)).await?);
        }
        self.health(DatabaseKind::Telemetry).completed();
        Ok(sum)
    }

    async fn store_telemetry(&self, target: Target<'_>) -> Result<Written, StoreError> {
        let store = |task: Task| async move {
            if task.range.start == 0 && !target.empty.is_empty() {
                let noted = self.telemetry.note_empty(target.provider, target.empty);
                timed(DatabaseKind::Telemetry, noted).await.map_err(|error| (DatabaseKind::Telemetry, error))?;
            }
            if task.range.is_empty() {
                return Ok(Written::default());
            }
            let (mut rows, mut dead) = (Vec::new(), Vec::new());
            for record in target.records_of(&task) {
                match (&task.rejection, &record.outcome) {
                    (Some(rejection), _) | (None, Err(rejection)) => dead.push(record.dead_letter(rejection)),
                    (None, Ok(event)) => rows.push(TelemetryRow {
                        event,
                        message_id: record.message.message_id,
                        topic: record.message.topic,
                    }),
                }
            }
            let part = target.part(&task);
            let stored = timed(DatabaseKind::Telemetry, self.telemetry.write(&part, &rows, &dead)).await;
            let Appended { inserted, duplicate } = stored.map_err(|error| (DatabaseKind::Telemetry, error))?;
            let buried = target.records_of(&task).filter_map(|record| {
                let rejection = task.rejection.as_ref().or(record.outcome.as_ref().err())?;
                Some((record, rejection))
            });
            dead_letter_log::dead_letters(target.provider, target.lease_id, buried);
            Ok(Written { inserted, duplicate, dead_lettered: dead.len() })
        };
        self.drive(target, store).await
    }

    /// Whether a batch is stored already. A freshly claimed one is not: its id is new.
    ///
    /// Only if its parts make up the whole batch: of a batch that was stored in part, the records may be numbered
    /// differently by now (another version of a parser, a message that has become a dead letter), so that it is written
    /// once more, which changes nothing that is there.
    async fn is_stored<Reading: Future<Output = Result<HashSet<(i32, i32)>, StoreError>>>(
        &self,
        batch: Batch<'_>,
        side: DatabaseKind,
        read: impl Fn() -> Reading,
    ) -> Result<bool, StoreError> {
        if batch.origin == Origin::Claimed || batch.records == 0 {
            return Ok(false);
        }
        let mut pause = self.retry_min;
        let mut session = 0;
        loop {
            match read().await {
                Ok(parts) => {
                    let is_whole = cover_batch(&parts, index(batch.records));
                    if is_whole {
                        // A statement whose reply was lost, or that was given up, has gone through all the same.
                        self.health(side).answered();
                    }
                    return Ok(is_whole);
                }
                Err(error) if gives_up(&error, &mut session) => return Err(error),
                Err(error) => {
                    self.note(side, &error);
                    self.wait(side, &error, &mut pause).await;
                }
            }
        }
    }
}

pub(crate) fn event<'a>(record: &'a Record<'a>) -> Option<&'a VehicleEvent<'a>> {
    record.outcome.as_ref().ok()
}

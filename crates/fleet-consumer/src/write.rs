//! Storing a batch's records: two sides, each in transactions of bounded size.

use std::collections::HashSet;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use fleet_providers::VehicleEvent;
use fleet_queue::Lease;
use fleet_store::{
    Appended, EmptyMessage, ErrorClass, Part, SESSION_RETRIES, StateStore, StoreError, TelemetryRow,
    TelemetryStore,
};
use tokio::time::Instant;

use crate::batch::{Fault, Record};
use crate::health::{DatabaseHealth, SideHealth};
use crate::metrics::{self, Side, SplitCause, timed};
use crate::new_vehicles::NewVehicles;
use crate::parts::make_up;
use crate::report;

mod vehicles;

/// Stores batches.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Current state.
    pub state: StateStore,
    /// Raw events and dead letters.
    pub telemetry: TelemetryStore,
    /// Whether either database takes anything.
    pub health: DatabaseHealth,
    /// How many new vehicles the state takes; without a bound if absent.
    pub new_vehicles: Option<NewVehicles>,
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
    fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.duplicate += other.duplicate;
        self.dead_lettered += other.dead_lettered;
    }
}

/// A batch while it is written.
#[derive(Clone, Copy)]
struct Target<'a> {
    lease: &'a Lease,
    provider: &'static str,
    records: &'a [Record<'a>],
    /// Messages without any record, which telemetry notes; none for the state.
    empty: &'a [EmptyMessage],
    side: Side,
}

/// Records that one transaction tries to store; with a fault, one that a database has refused.
#[derive(Clone)]
struct Task {
    range: Range<usize>,
    fault: Option<Fault>,
}

impl Writer {
    /// Stores all records on both sides, and notes the messages without any. Returns when both have committed, or when one has and the other one's database
    /// takes nothing; otherwise retries for as long as it takes.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that a retry did not or cannot help: the batch must stay leased.
    pub(crate) async fn write(
        &self,
        lease: &Lease,
        origin: Origin,
        provider: &'static str,
        records: &[Record<'_>],
        empty: &[EmptyMessage],
    ) -> Result<Stored, StoreError> {
        let target = |side, empty| Target { lease, provider, records, empty, side };
        let taken_over = origin != Origin::Claimed;
        let mut state = pin!(async {
            self.health.state.ready().await;
            self.write_state(target(Side::State, &[]), taken_over).await
        });
        let mut telemetry = pin!(async {
            self.health.telemetry.ready().await;
            self.write_telemetry(target(Side::Telemetry, empty), taken_over).await
        });
        let tried_since = Instant::now();
        let DatabaseHealth { state: state_health, telemetry: telemetry_health } = &self.health;
        let is_tried =
            |health: &SideHealth| health.is_ready() && (origin == Origin::Resumed || health.is_usable());
        // One side alone, as long as the other one takes nothing and this one does: its own outage must not keep the batch
        // from a database that is back.
        match (is_tried(state_health), is_tried(telemetry_health)) {
            (true, false) => tokio::select! {
                stored = &mut state => return stored.map(|_written| Stored::OneSide),
                () = state_health.out_of_patience(tried_since) => {}
                () = telemetry_health.usable() => {}
            },
            (false, true) => tokio::select! {
                stored = &mut telemetry => return stored.map(|_written| Stored::OneSide),
                () = telemetry_health.out_of_patience(tried_since) => {}
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
                    () = state_health.out_of_patience(tried_since) => Ok(Stored::OneSide),
                };
            }
        };
        tokio::select! {
            stored = telemetry => stored.map(Stored::Whole),
            () = telemetry_health.out_of_patience(tried_since) => Ok(Stored::OneSide),
        }
    }

    async fn write_state(&self, target: Target<'_>, taken_over: bool) -> Result<Written, StoreError> {
        let read = || self.state.settled(target.lease.id);
        if self.is_stored(target, taken_over, read).await? {
            return Ok(Written::default());
        }
        let of_state = |error| (Side::State, error);
        let store = |task: Task| async move {
            if let Some(fault) = &task.fault {
                let letters: Vec<_> =
                    target.records_of(&task).map(|record| record.dead_letter(fault)).collect();
                if let Err(error) =
                    timed(Side::Telemetry, self.telemetry.bury(target.provider, &letters)).await
                {
                    return Err((Side::Telemetry, error));
                }
                let stored = timed(Side::State, self.state.write(&target.part(&task), &[])).await;
                stored.map_err(of_state)?;
                // Not before: as long as the state does not take it, this is tried again.
                let buried = target.records_of(&task).map(|record| (record, fault));
                report::dead_letters(target.provider, target.lease.id, buried);
            } else {
                self.store_vehicles(target, &task).await?;
            }
            // The records are telemetry's to count.
            Ok(Written::default())
        };
        self.drive(target, store).await
    }

    async fn write_telemetry(&self, target: Target<'_>, taken_over: bool) -> Result<Written, StoreError> {
        let read = || self.telemetry.settled(target.lease.id);
        if self.is_stored(target, taken_over, read).await? {
            return Ok(Written::default());
        }
        let store = |task: Task| async move {
            if task.range.start == 0 && !target.empty.is_empty() {
                let noted = self.telemetry.note_empty(target.provider, target.empty);
                timed(Side::Telemetry, noted).await.map_err(|error| (Side::Telemetry, error))?;
            }
            if task.range.is_empty() {
                return Ok(Written::default());
            }
            let (mut rows, mut dead) = (Vec::new(), Vec::new());
            for record in target.records_of(&task) {
                match (&task.fault, &record.outcome) {
                    (Some(fault), _) | (None, Err(fault)) => dead.push(record.dead_letter(fault)),
                    (None, Ok(event)) => rows.push(TelemetryRow {
                        event,
                        message_id: record.message.message_id,
                        topic: record.message.topic,
                    }),
                }
            }
            let part = target.part(&task);
            let stored = timed(Side::Telemetry, self.telemetry.write(&part, &rows, &dead)).await;
            let Appended { inserted, duplicate } = stored.map_err(|error| (Side::Telemetry, error))?;
            let buried = target.records_of(&task).filter_map(|record| {
                let fault = task.fault.as_ref().or(record.outcome.as_ref().err())?;
                Some((record, fault))
            });
            report::dead_letters(target.provider, target.lease.id, buried);
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
        target: Target<'_>,
        taken_over: bool,
        read: impl Fn() -> Reading,
    ) -> Result<bool, StoreError> {
        if !taken_over || target.records.is_empty() {
            return Ok(false);
        }
        let mut pause = self.retry_min;
        let mut session = 0;
        loop {
            match read().await {
                Ok(parts) => {
                    let is_whole = make_up(&parts, index(target.records.len()));
                    if is_whole {
                        // A statement whose reply was lost, or that was given up, has gone through all the same.
                        self.health(target.side).answered();
                    }
                    return Ok(is_whole);
                }
                Err(error) if gives_up(&error, &mut session) => return Err(error),
                Err(error) => {
                    self.note(target.side, &error);
                    self.wait(target.side, &error, &mut pause).await;
                }
            }
        }
    }

    /// Runs one side: parts of bounded size, each tried until it is stored, halved if it is too slow, or narrowed down
    /// to the record that the database refuses.
    async fn drive<Storing: Future<Output = Result<Written, (Side, StoreError)>>>(
        &self,
        target: Target<'_>,
        store: impl Fn(Task) -> Storing,
    ) -> Result<Written, StoreError> {
        let mut sum = Written::default();
        let mut tasks = self.tasks(target);
        let mut pause = self.retry_min;
        let mut slow = 0;
        let mut session = 0;
        while let Some(task) = tasks.pop() {
            let (side, error) = match store(task.clone()).await {
                Ok(written) => {
                    self.health(target.side).answered();
                    sum.add(written);
                    (pause, slow, session) = (self.retry_min, 0, 0);
                    continue;
                }
                Err(error) => error,
            };
            if gives_up(&error, &mut session) {
                return Err(error);
            }
            let single = task.range.len() <= 1;
            self.note(side, &error);
            match error.class() {
                ErrorClass::Poison if single && task.fault.is_none() => {
                    let fault = Some(Fault::rejected(&error));
                    tasks.push(Task { range: task.range, fault });
                }
                ErrorClass::Poison if !single => {
                    halve(target.provider, SplitCause::Poison, &mut tasks, &task);
                }
                ErrorClass::TooSlow if slow > 0 && !single => {
                    slow = 0;
                    halve(target.provider, SplitCause::Slow, &mut tasks, &task);
                }
                ErrorClass::Unavailable | ErrorClass::Session | ErrorClass::TooSlow => {
                    slow += u32::from(error.class() == ErrorClass::TooSlow);
                    tasks.push(task);
                    self.wait(side, &error, &mut pause).await;
                }
                ErrorClass::Poison | ErrorClass::Fatal => return Err(error),
            }
        }
        self.health(target.side).completed();
        Ok(sum)
    }

    /// All parts, the first one last. Without any record there is one only to note the messages.
    fn tasks(&self, target: Target<'_>) -> Vec<Task> {
        let records = target.records.len();
        if records == 0 && !target.empty.is_empty() {
            return vec![Task { range: 0..0, fault: None }];
        }
        let size = self.max_records.max(1);
        let starts = (0..records).step_by(size).rev();
        starts.map(|start| Task { range: start..records.min(start + size), fault: None }).collect()
    }

    async fn wait(&self, side: Side, error: &StoreError, pause: &mut Duration) {
        metrics::database_retry(side, error.label());
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(self.retry_max);
    }

    /// What an error says of the database's health.
    fn note(&self, side: Side, error: &StoreError) {
        match error.class() {
            ErrorClass::Unavailable | ErrorClass::Session => self.health(side).failed(error),
            ErrorClass::TooSlow => self.health(side).is_slow(),
            ErrorClass::Poison => self.health(side).answered(),
            ErrorClass::Fatal => {}
        }
    }

    fn health(&self, side: Side) -> &SideHealth {
        match side {
            Side::State => &self.health.state,
            Side::Telemetry => &self.health.telemetry,
        }
    }
}

/// Whether trying again is over: at once, or after so many errors in a row that say nothing about the data.
fn gives_up(error: &StoreError, session: &mut u32) -> bool {
    match error.class() {
        ErrorClass::Fatal => true,
        ErrorClass::Session => {
            *session += 1;
            *session > SESSION_RETRIES
        }
        ErrorClass::Unavailable | ErrorClass::TooSlow | ErrorClass::Poison => {
            *session = 0;
            false
        }
    }
}

/// A batch has far fewer records than there are indexes: 4 MiB of messages.
fn index(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The first half is tried first.
fn halve(provider: &'static str, cause: SplitCause, tasks: &mut Vec<Task>, task: &Task) {
    metrics::split(provider, cause);
    let middle = task.range.start + task.range.len() / 2;
    tasks.push(Task { range: middle..task.range.end, fault: None });
    tasks.push(Task { range: task.range.start..middle, fault: None });
}

impl<'a> Target<'a> {
    fn part(&self, task: &Task) -> Part<'static> {
        Part {
            lease_id: self.lease.id,
            provider: self.provider,
            first_record: index(task.range.start),
            records: index(task.range.len()),
        }
    }

    fn records_of(&self, task: &Task) -> impl Iterator<Item = &'a Record<'a>> {
        self.records[task.range.clone()].iter()
    }
}

fn event<'a>(record: &'a Record<'a>) -> Option<&'a VehicleEvent<'a>> {
    record.outcome.as_ref().ok()
}

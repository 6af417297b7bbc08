//! One side of a slice, in transactions of bounded size.

use std::ops::Range;
use std::time::Duration;

use fleet_store::{EmptyMessage, ErrorClass, Part, SESSION_RETRIES, StoreError};
use uuid::Uuid;

use crate::batch::parse::{Rejection, Record};
use crate::batch::slices::Slice;
use crate::metrics::{self, DatabaseKind, SplitCause};
use crate::write::database_health::DatabaseHealth;
use crate::write::writer::{Writer, Written};

/// Most bytes of one transaction's events and dead letters, if they are more than one: a statement's parameters are copied
/// several times on their way to the server.
const MAX_PART_BYTES: usize = 2 * 1024 * 1024;

/// A slice of a batch while one side is written.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) lease_id: Uuid,
    pub(crate) provider: &'static str,
    pub(crate) slice: &'a Slice<'a>,
    /// Messages without any record, which telemetry notes; none for the state.
    pub(crate) empty: &'a [EmptyMessage],
    pub(crate) side: DatabaseKind,
}

/// Records that one transaction tries to store; with a rejection, one that a database has refused.
#[derive(Clone)]
pub(crate) struct Task {
    /// Within the slice.
    pub(crate) range: Range<usize>,
    pub(crate) rejection: Option<Rejection>,
}

impl Writer {
    /// Stores a slice on one side: parts of bounded size, each tried until it is stored, halved if it is too slow, or
    /// narrowed down to the record that the database refuses.
    pub(crate) async fn drive<Storing: Future<Output = Result<Written, (DatabaseKind, StoreError)>>>(
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
                ErrorClass::Poison if single && task.rejection.is_none() => {
                    let rejection = Some(Rejection::rejected(&error));
                    tasks.push(Task { range: task.range, rejection });
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
        Ok(sum)
    }

    /// All parts, the first one last. Without any record there is one only to note the messages.
    fn tasks(&self, target: Target<'_>) -> Vec<Task> {
        let records = target.records();
        if records.is_empty() && !target.empty.is_empty() {
            return vec![Task { range: 0..0, rejection: None }];
        }
        let mut tasks = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (index, record) in records.iter().enumerate() {
            let size = size_of_record(record);
            if index > start && (index - start >= self.max_records || bytes + size > MAX_PART_BYTES) {
                tasks.push(Task { range: start..index, rejection: None });
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        if start < records.len() {
            tasks.push(Task { range: start..records.len(), rejection: None });
        }
        tasks.reverse();
        tasks
    }

    pub(crate) async fn wait(&self, side: DatabaseKind, error: &StoreError, pause: &mut Duration) {
        metrics::database_retry(side, error.label());
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(self.retry_max);
    }

    /// What an error says of the database's health.
    pub(crate) fn note(&self, side: DatabaseKind, error: &StoreError) {
        match error.class() {
            ErrorClass::Unavailable | ErrorClass::Session => self.health(side).failed(error),
            ErrorClass::TooSlow => self.health(side).is_slow(),
            ErrorClass::Poison => self.health(side).answered(),
            ErrorClass::Fatal => {}
        }
    }

    pub(crate) fn health(&self, side: DatabaseKind) -> &DatabaseHealth {
        match side {
            DatabaseKind::State => &self.health.state,
            DatabaseKind::Telemetry => &self.health.telemetry,
        }
    }
}

/// Whether trying again is over: at once, or after so many errors in a row that say nothing about the data.
pub(crate) fn gives_up(error: &StoreError, session: &mut u32) -> bool {
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

/// How much of a statement a record is, about: its text, or the envelope of a dead letter.
fn size_of_record(record: &Record<'_>) -> usize {
    record.outcome.as_ref().map_or(record.message.item.len(), |event| event.raw.len())
}

/// A batch has far fewer records than there are indexes: 4 MiB of messages.
pub(crate) fn index(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The first half is tried first.
fn halve(provider: &'static str, cause: SplitCause, tasks: &mut Vec<Task>, task: &Task) {
    metrics::split(provider, cause);
    let middle = task.range.start + task.range.len() / 2;
    tasks.push(Task { range: middle..task.range.end, rejection: None });
    tasks.push(Task { range: task.range.start..middle, rejection: None });
}

impl<'a> Target<'a> {
    fn records(&self) -> &'a [Record<'a>] {
        &self.slice.records
    }

    pub(crate) fn part(&self, task: &Task) -> Part<'static> {
        Part {
            lease_id: self.lease_id,
            provider: self.provider,
            first_record: index(self.slice.first_record + task.range.start),
            records: index(task.range.len()),
        }
    }

    pub(crate) fn records_of(&self, task: &Task) -> impl Iterator<Item = &'a Record<'a>> {
        self.records()[task.range.clone()].iter()
    }
}

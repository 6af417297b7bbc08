//! Stores a slice in one database, in transactions of bounded size.

use fleet_runtime::retry::{Backoff, RetryPauses};
use fleet_store::{ErrorClass, SESSION_RETRIES, StoreError};
use jiff::Timestamp;

use crate::batch::rejection::Rejection;
use crate::database_kind::DatabaseKind;
use crate::metrics;
use crate::metrics::writes::SplitCause;
use crate::write::batch::Written;
use crate::write::database_health::DatabasesHealth;
use crate::write::record_range::{RecordRange, SliceToStore};

/// Runs transactions, and retries those that fail.
#[derive(Clone, Debug)]
pub(crate) struct Transactions {
    pub(crate) health: DatabasesHealth,
    /// Most rows in one transaction.
    pub(crate) max_rows: usize,
    /// The pauses before retries.
    pub(crate) retries: RetryPauses,
}

/// A statement that failed, and the database that it failed in.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) database: DatabaseKind,
    pub(crate) error: StoreError,
}

/// Runs and times one statement or transaction.
pub(crate) async fn attempt<T>(
    database: DatabaseKind,
    storing: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Failure> {
    metrics::writes::timed(database, storing).await.map_err(|error| Failure { database, error })
}

impl Transactions {
    /// Stores a slice in one database. Each transaction is retried until it is stored. One that is too slow twice, or has a
    /// record that the database rejects, is halved, until the rejected record is alone. It can become a dead letter if
    /// the database then accepts a harmless record, by `try_harmless`, and rejects this one again.
    pub(crate) async fn store_slice<
        Storing: Future<Output = Result<Written, Failure>>,
        Trying: Future<Output = Result<(), StoreError>>,
    >(
        &self,
        slice: SliceToStore<'_>,
        store: impl Fn(RecordRange) -> Storing,
        try_harmless: impl Fn(DatabaseKind, Timestamp) -> Trying,
    ) -> Result<Written, StoreError> {
        let mut sum = Written::default();
        let mut ranges = slice.ranges(self.max_rows);
        let mut backoff = self.retries.start();
        let mut slow = 0;
        let mut session = 0;
        let mut suspect = None;
        while let Some(range) = ranges.pop() {
            let Failure { database, error } = match store(range.clone()).await {
                Ok(written) => {
                    self.health.of(slice.database).answered();
                    sum.add(written);
                    backoff.reset();
                    (slow, session) = (0, 0);
                    continue;
                }
                Err(failure) => failure,
            };
            let single = range.is_single();
            let is_refused = single && range.rejection.is_none() && error.class() == ErrorClass::Poison;
            let error = if is_refused && suspect.as_ref() != Some(&range.range) {
                let trying = try_harmless(database, slice.received_at(&range));
                let Some(cause) = other_cause(error, trying).await else {
                    // Whatever refused it may have gone meanwhile.
                    suspect = Some(range.range.clone());
                    ranges.push(range);
                    continue;
                };
                cause
            } else {
                error
            };
            if gives_up(&error, &mut session) {
                return Err(error);
            }
            self.health.of(database).note(&error);
            match error.class() {
                ErrorClass::Poison if single && range.rejection.is_none() => {
                    let rejection = Some(Rejection::rejected(&error));
                    ranges.push(RecordRange { rejection, ..range });
                }
                ErrorClass::Poison if !single => {
                    halve(slice.provider, SplitCause::Poison, &mut ranges, &range);
                }
                ErrorClass::TooSlow if slow > 0 && !single => {
                    slow = 0;
                    halve(slice.provider, SplitCause::Slow, &mut ranges, &range);
                }
                ErrorClass::Unavailable | ErrorClass::Session | ErrorClass::TooSlow | ErrorClass::Locked => {
                    slow += u32::from(error.class() == ErrorClass::TooSlow);
                    // The tables may be others when the database is back.
                    suspect = None;
                    ranges.push(range);
                    wait(database, &error, &mut backoff).await;
                }
                ErrorClass::Poison | ErrorClass::Fatal => return Err(error),
            }
        }
        Ok(sum)
    }

    /// Retries a query until it succeeds, or until retries cannot help.
    pub(crate) async fn read<T, Reading: Future<Output = Result<T, StoreError>>>(
        &self,
        database: DatabaseKind,
        read: impl Fn() -> Reading,
    ) -> Result<T, StoreError> {
        let mut backoff = self.retries.start();
        let mut session = 0;
        loop {
            match read().await {
                Ok(value) => return Ok(value),
                Err(error) if gives_up(&error, &mut session) => return Err(error),
                Err(error) => {
                    self.health.of(database).note(&error);
                    wait(database, &error, &mut backoff).await;
                }
            }
        }
    }
}

/// Why a record was refused, if not because of its data. `None` if the database accepts a harmless record.
async fn other_cause(
    refused: StoreError,
    trying: impl Future<Output = Result<(), StoreError>>,
) -> Option<StoreError> {
    match trying.await {
        Ok(()) => None,
        Err(cause) if cause.class() == ErrorClass::Poison => Some(StoreError::RefusesAll(Box::new(refused))),
        Err(cause) => Some(cause),
    }
}

async fn wait(database: DatabaseKind, error: &StoreError, backoff: &mut Backoff) {
    metrics::writes::database_retry(database, error.label());
    tokio::time::sleep(backoff.next_pause()).await;
}

/// Whether to stop retrying: at once, or after too many errors in a row that say nothing about the data.
fn gives_up(error: &StoreError, session: &mut u32) -> bool {
    match error.class() {
        ErrorClass::Fatal => true,
        ErrorClass::Session => {
            *session += 1;
            *session > SESSION_RETRIES
        }
        ErrorClass::Unavailable | ErrorClass::TooSlow | ErrorClass::Locked | ErrorClass::Poison => {
            *session = 0;
            false
        }
    }
}

/// The first half is stored first.
fn halve(provider: &'static str, cause: SplitCause, ranges: &mut Vec<RecordRange>, range: &RecordRange) {
    metrics::writes::split(provider, cause);
    let [first, second] = range.halves();
    ranges.extend([second, first]);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleet_runtime::settings::Settings;

    use super::SESSION_RETRIES;

    /// As ARCHITECTURE.md and [`SESSION_RETRIES`] say: longer than the restart of a connection pooler.
    #[test]
    fn session_errors_are_retried_for_13_seconds_at_least() {
        let mut backoff = Settings::default().consumer.retries().start();
        let total: Duration = (0..SESSION_RETRIES).map(|_retry| backoff.next_pause()).sum();
        assert!((13.0..=26.5).contains(&total.as_secs_f64()), "{total:?}");
    }
}

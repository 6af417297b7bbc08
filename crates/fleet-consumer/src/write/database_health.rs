//! Whether each database accepts batches, so that the other one need not wait for it.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_store::{ErrorClass, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::database_kind::DatabaseKind;
use crate::metrics;

/// How long a database may fail before batches that the other one has are parked.
const FAILING: Duration = Duration::from_secs(1);

/// How long it may be silent while the other one has the batch. This doubles each time, so that a database that is only slow
/// gets enough time in the end.
const SILENT: Duration = Duration::from_secs(5);

/// How often a lock that batches wait for is logged.
const LOCKS_LOGGED_EVERY: Duration = Duration::from_mins(1);

/// Longer than any statement may take.
const MOST_SILENT: Duration = Duration::from_secs(120);

/// The health of both databases. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DatabasesHealth {
    pub(crate) state: Arc<DatabaseHealth>,
    pub(crate) telemetry: Arc<DatabaseHealth>,
}

impl Default for DatabasesHealth {
    fn default() -> Self {
        let health = |database| Arc::new(DatabaseHealth::new(database));
        Self { state: health(DatabaseKind::State), telemetry: health(DatabaseKind::Telemetry) }
    }
}

impl DatabasesHealth {
    /// The health of one database.
    pub(crate) fn of(&self, database: DatabaseKind) -> &DatabaseHealth {
        match database {
            DatabaseKind::State => &self.state,
            DatabaseKind::Telemetry => &self.telemetry,
        }
    }
}

/// The health of one database, as this process sees it.
#[derive(Debug)]
pub(crate) struct DatabaseHealth {
    database: DatabaseKind,
    known: watch::Sender<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its schema is there. Before that, no batch is written to it.
    is_ready: bool,
    outage: Option<Outage>,
    /// Decides which of its failures are logged.
    log: OutageLog,
    /// When a lock was last logged.
    lock_logged_at: Option<Instant>,
    /// When it last stored a record, or rejected one because of its data.
    answered_at: Option<Instant>,
    /// How long it may be silent at present.
    silent: Duration,
}

/// A database fails or is silent.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failed_at: Option<Instant>,
    /// Batches are parked until it recovers.
    is_down: bool,
}

impl Outage {
    fn begins(now: Instant) -> Self {
        Self { since: now, failed_at: None, is_down: false }
    }

    /// When a batch has waited long enough that was tried since then, if it failed since then.
    fn failing_until(&self, tried_since: Instant) -> Option<Instant> {
        let _failed_since = self.failed_at.filter(|failed_at| *failed_at >= tried_since)?;
        Some(self.since.max(tried_since) + FAILING)
    }
}

impl Known {
    fn is_usable(&self) -> bool {
        self.is_ready && !self.outage.is_some_and(|outage| outage.is_down)
    }
}

impl DatabaseHealth {
    fn new(database: DatabaseKind) -> Self {
        let known = Known {
            is_ready: false,
            outage: None,
            log: OutageLog::default(),
            lock_logged_at: None,
            answered_at: None,
            silent: SILENT,
        };
        Self { database, known: watch::Sender::new(known) }
    }

    /// Its schema is there.
    pub(crate) fn set_ready(&self) {
        self.known.send_modify(|known| known.is_ready = true);
    }

    /// Whether its schema is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.known.borrow().is_ready
    }

    /// Whether every batch is to be written to it.
    pub(crate) fn is_usable(&self) -> bool {
        self.known.borrow().is_usable()
    }

    /// Waits until every batch is to be written to it.
    pub(crate) async fn usable(&self) {
        self.wait_for(Known::is_usable).await;
    }

    /// Waits until its schema is there.
    pub(crate) async fn ready(&self) {
        self.wait_for(|known| known.is_ready).await;
    }

    async fn wait_for(&self, condition: impl FnMut(&Known) -> bool) {
        let mut changes = self.known.subscribe();
        // The sender lives as long as this value.
        let _known = changes.wait_for(condition).await;
    }

    /// Notes what an error says about the database.
    pub(crate) fn note(&self, error: &StoreError) {
        match error.class() {
            ErrorClass::Unavailable | ErrorClass::Session => self.failed(error),
            ErrorClass::TooSlow => self.is_slow(),
            ErrorClass::Locked => match self.database {
                // Its statement waits for locks as long as for anything else, unless an operator has set a shorter limit.
                DatabaseKind::State => self.failed(error),
                DatabaseKind::Telemetry => self.is_locked(error),
            },
            ErrorClass::Poison => self.answered(),
            ErrorClass::Fatal => {}
        }
    }

    /// It stored a record, or rejected one because of its data.
    pub(crate) fn answered(&self) {
        let now = Instant::now();
        let (mut ended, mut over) = (None, None);
        self.known.send_modify(|known| {
            known.answered_at = Some(now);
            ended = known.outage.take();
            over = known.log.succeeded(now.into_std());
        });
        let Some(outage) = ended else { return };
        metrics::writes::database_down(self.database, false);
        // A database that was only silent has no failure in the log, but batches were parked.
        let silence = Over { failures: 0, lasted: now.duration_since(outage.since) };
        if let Some(Over { failures, lasted }) = over.or(outage.is_down.then_some(silence)) {
            tracing::info!(
                side = self.database.name(),
                failures,
                seconds = lasted.as_secs(),
                "the database accepts batches again"
            );
        }
    }

    /// It cancelled a statement because that took too long: it is slow, but up.
    pub(crate) fn is_slow(&self) {
        self.known.send_modify(|known| known.answered_at = Some(Instant::now()));
    }

    /// Another transaction holds a lock on a part of telemetry that a batch needs. The database itself is up.
    fn is_locked(&self, error: &StoreError) {
        let now = Instant::now();
        let mut is_due = false;
        self.known.send_modify(|known| {
            known.answered_at = Some(now);
            let logged_at = known.lock_logged_at;
            is_due = logged_at.is_none_or(|logged_at| now.duration_since(logged_at) >= LOCKS_LOGGED_EVERY);
            if is_due {
                known.lock_logged_at = Some(now);
            }
        });
        if is_due {
            tracing::warn!(
                side = self.database.name(),
                %error,
                "batches wait for a lock in the database: the consumer parks them and continues with others"
            );
        }
    }

    /// It has all of a batch. The next batches need not wait as long for it.
    pub(crate) fn completed(&self) {
        self.known.send_if_modified(|known| {
            let shorter = (known.silent / 2).max(SILENT);
            std::mem::replace(&mut known.silent, shorter) != shorter
        });
    }

    /// It could not store a record. Logs this when it begins and once a minute.
    pub(crate) fn failed(&self, error: &StoreError) {
        let now = Instant::now();
        let mut due = None;
        self.known.send_modify(|known| {
            known.outage.get_or_insert_with(|| Outage::begins(now)).failed_at = Some(now);
            due = known.log.failed(now.into_std(), 1);
        });
        if let Some(Failing { failures, lasted }) = due {
            tracing::warn!(
                side = self.database.name(),
                %error,
                failures,
                seconds = lasted.as_secs(),
                "the database did not accept a batch: retrying until it does"
            );
        } else {
            tracing::debug!(side = self.database.name(), %error, "the database did not accept a batch");
        }
    }

    /// Waits until a batch should no longer wait for this database. The other database has the batch, and this one was tried
    /// since `tried_since`. Each reply of the database extends the wait.
    pub(crate) async fn waited_long_enough(&self, tried_since: Instant) {
        let start = Instant::now();
        let mut changes = self.known.subscribe();
        let was_silent = loop {
            let known = *changes.borrow_and_update();
            let silent_since = known.answered_at.map_or(start, |answered_at| answered_at.max(start));
            let silent_until = silent_since + known.silent;
            let failing_until = known.outage.and_then(|outage| outage.failing_until(tried_since));
            let until = failing_until.map_or(silent_until, |failing_until| failing_until.min(silent_until));
            tokio::select! {
                () = tokio::time::sleep_until(until) => break until == silent_until,
                // The sender lives as long as this value.
                _changed = changes.changed() => {}
            }
        };
        self.set_down(was_silent);
    }

    fn set_down(&self, was_silent: bool) {
        let now = Instant::now();
        let mut began = false;
        self.known.send_modify(|known| {
            if was_silent {
                known.silent = (known.silent * 2).min(MOST_SILENT);
            }
            let outage = known.outage.get_or_insert_with(|| Outage::begins(now));
            began = !outage.is_down;
            outage.is_down = true;
        });
        if began {
            metrics::writes::database_down(self.database, true);
            tracing::warn!(
                side = self.database.name(),
                "the database takes nothing: batches that the other one has are parked until it recovers"
            );
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether each of the two databases takes anything: one that does not must not hold up the other.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_store::{ErrorClass, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::database_kind::DatabaseKind;
use crate::metrics;

/// How long a database may fail before batches that the other one has taken step aside.
const FAILING: Duration = Duration::from_secs(1);

/// How long it may answer nothing while the other one has the batch. It doubles each time: what is only slow must be waited
/// for in the end.
const SILENT: Duration = Duration::from_secs(5);

/// Longer than any statement may take.
const MOST_SILENT: Duration = Duration::from_secs(120);

/// What this process knows of both databases; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DatabasesHealth {
    pub(crate) state: Arc<DatabaseHealth>,
    pub(crate) telemetry: Arc<DatabaseHealth>,
}

impl Default for DatabasesHealth {
    fn default() -> Self {
        let side = |side| Arc::new(DatabaseHealth::new(side));
        Self { state: side(DatabaseKind::State), telemetry: side(DatabaseKind::Telemetry) }
    }
}

impl DatabasesHealth {
    /// What is known of this one.
    pub(crate) fn of(&self, database: DatabaseKind) -> &DatabaseHealth {
        match database {
            DatabaseKind::State => &self.state,
            DatabaseKind::Telemetry => &self.telemetry,
        }
    }
}

/// What this process knows of one database.
#[derive(Debug)]
pub(crate) struct DatabaseHealth {
    side: DatabaseKind,
    known: watch::Sender<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its schema is there: before that no batch is tried on it.
    is_ready: bool,
    outage: Option<Outage>,
    /// Which of its failures are logged.
    log: OutageLog,
    /// When it last took something, or refused it for what it is.
    answered_at: Option<Instant>,
    /// How long it may be silent at the moment.
    silent: Duration,
}

/// A database fails, or is silent.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failed_at: Option<Instant>,
    /// Batches step aside for it.
    is_away: bool,
}

impl Outage {
    fn begins(now: Instant) -> Self {
        Self { since: now, failed_at: None, is_away: false }
    }

    /// When a batch that has been tried since then has waited long enough, if it has failed at all.
    fn failing_until(&self, tried_since: Instant) -> Option<Instant> {
        let _failed_since = self.failed_at.filter(|failed_at| *failed_at >= tried_since)?;
        Some(self.since.max(tried_since) + FAILING)
    }
}

impl Known {
    fn is_usable(&self) -> bool {
        self.is_ready && !self.outage.is_some_and(|outage| outage.is_away)
    }
}

impl DatabaseHealth {
    fn new(side: DatabaseKind) -> Self {
        let known = Known {
            is_ready: false,
            outage: None,
            log: OutageLog::default(),
            answered_at: None,
            silent: SILENT,
        };
        Self { side, known: watch::Sender::new(known) }
    }

    /// Its schema is there.
    pub(crate) fn set_ready(&self) {
        self.known.send_modify(|known| known.is_ready = true);
    }

    /// Whether its schema is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.known.borrow().is_ready
    }

    /// Whether every batch is to be tried on it.
    pub(crate) fn is_usable(&self) -> bool {
        self.known.borrow().is_usable()
    }

    /// Waits until every batch is to be tried on it.
    pub(crate) async fn usable(&self) {
        self.known_to(Known::is_usable).await;
    }

    /// Waits until its schema is there.
    pub(crate) async fn ready(&self) {
        self.known_to(|known| known.is_ready).await;
    }

    async fn known_to(&self, be: impl FnMut(&Known) -> bool) {
        let mut changes = self.known.subscribe();
        // The sender lives as long as this value.
        let _known = changes.wait_for(be).await;
    }

    /// Notes what an error says about the database.
    pub(crate) fn note(&self, error: &StoreError) {
        match error.class() {
            ErrorClass::Unavailable | ErrorClass::Session => self.failed(error),
            ErrorClass::TooSlow => self.is_slow(),
            ErrorClass::Poison => self.answered(),
            ErrorClass::Fatal => {}
        }
    }

    /// It has taken something, or has refused it for what it is.
    pub(crate) fn answered(&self) {
        let now = Instant::now();
        let (mut ended, mut over) = (None, None);
        self.known.send_modify(|known| {
            known.answered_at = Some(now);
            ended = known.outage.take();
            over = known.log.succeeded(now.into_std());
        });
        let Some(outage) = ended else { return };
        metrics::writes::database_away(self.side, false);
        // A database that was only silent has not failed, and batches were set aside all the same.
        let silence = Over { failures: 0, lasted: now.duration_since(outage.since) };
        if let Some(Over { failures, lasted }) = over.or(outage.is_away.then_some(silence)) {
            tracing::info!(
                side = self.side.name(),
                failures,
                seconds = lasted.as_secs(),
                "the database takes batches again"
            );
        }
    }

    /// It has said that a statement takes too long: it is slow, and there.
    pub(crate) fn is_slow(&self) {
        self.known.send_modify(|known| known.answered_at = Some(Instant::now()));
    }

    /// It has all of a batch: what comes next need not wait as long for it as this one had to.
    pub(crate) fn completed(&self) {
        self.known.send_if_modified(|known| {
            let shorter = (known.silent / 2).max(SILENT);
            std::mem::replace(&mut known.silent, shorter) != shorter
        });
    }

    /// It could not take something; says so when that begins, and once a minute.
    pub(crate) fn failed(&self, error: &StoreError) {
        let now = Instant::now();
        let mut due = None;
        self.known.send_modify(|known| {
            known.outage.get_or_insert_with(|| Outage::begins(now)).failed_at = Some(now);
            due = known.log.failed(now.into_std(), 1);
        });
        if let Some(Failing { failures, lasted }) = due {
            tracing::warn!(
                side = self.side.name(),
                %error,
                failures,
                seconds = lasted.as_secs(),
                "the database did not take a batch: retrying until it does"
            );
        } else {
            tracing::debug!(side = self.side.name(), %error, "the database did not take a batch");
        }
    }

    /// Waits until a batch that the other database has taken, and that has been tried on this one since then, should no
    /// longer wait for it. Each answer is a reason to wait longer.
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
        self.set_away(was_silent);
    }

    fn set_away(&self, was_silent: bool) {
        let now = Instant::now();
        let mut began = false;
        self.known.send_modify(|known| {
            if was_silent {
                known.silent = (known.silent * 2).min(MOST_SILENT);
            }
            let outage = known.outage.get_or_insert_with(|| Outage::begins(now));
            began = !outage.is_away;
            outage.is_away = true;
        });
        if began {
            metrics::writes::database_away(self.side, true);
            tracing::warn!(
                side = self.side.name(),
                "the database takes nothing: batches that the other one has are set aside until it does"
            );
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether each of the two databases takes anything: one that does not must not hold up the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_store::StoreError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::{self, Side};

/// How long a database may fail before batches that the other one has taken step aside.
const FAILING: Duration = Duration::from_secs(1);

/// How long it may say nothing after the other one has taken the same batch. It doubles each time: what is only slow must
/// be waited for in the end.
const SILENT: Duration = Duration::from_secs(5);

/// Longer than any statement may take.
const MOST_SILENT: Duration = Duration::from_secs(120);

/// Between two log lines about one outage.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What this process knows of both databases; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseHealth {
    pub(crate) state: Arc<SideHealth>,
    pub(crate) telemetry: Arc<SideHealth>,
}

impl Default for DatabaseHealth {
    fn default() -> Self {
        let side = |side| Arc::new(SideHealth::new(side));
        Self { state: side(Side::State), telemetry: side(Side::Telemetry) }
    }
}

/// What this process knows of one database.
#[derive(Debug)]
pub(crate) struct SideHealth {
    side: Side,
    is_ready: AtomicBool,
    outage: watch::Sender<Option<Outage>>,
    silent: Mutex<Duration>,
}

/// A database fails, or is silent.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failed_at: Option<Instant>,
    failures: u64,
    said_at: Instant,
    /// Batches step aside for it.
    is_away: bool,
}

impl Outage {
    fn begins(now: Instant) -> Self {
        Self { since: now, failed_at: None, failures: 0, said_at: now, is_away: false }
    }

    /// When a batch that has been tried since then has waited long enough, if it has failed at all.
    fn failing_until(&self, tried_since: Instant) -> Option<Instant> {
        let _failed_since = self.failed_at.filter(|failed_at| *failed_at >= tried_since)?;
        Some(self.since.max(tried_since) + FAILING)
    }
}

impl SideHealth {
    fn new(side: Side) -> Self {
        Self {
            side,
            is_ready: AtomicBool::new(false),
            outage: watch::Sender::new(None),
            silent: Mutex::new(SILENT),
        }
    }

    /// Its schema is there.
    pub(crate) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Whether its schema is there: before that no batch is tried on it.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Batches step aside for it; one of them at a time is tried on it.
    pub(crate) fn is_away(&self) -> bool {
        self.outage.borrow().is_some_and(|outage| outage.is_away)
    }

    /// It has taken something, or has refused it for what it is.
    pub(crate) fn answered(&self) {
        if self.outage.borrow().is_none() {
            return;
        }
        if let Some(outage) = self.outage.send_replace(None) {
            self.change_silent(|silent| (silent / 2).max(SILENT));
            metrics::side_away(self.side, false);
            tracing::info!(
                side = self.side.name(),
                failures = outage.failures,
                seconds = outage.since.elapsed().as_secs(),
                "the database takes batches again"
            );
        }
    }

    /// It could not take something; says so when that begins, and once a minute.
    pub(crate) fn failed(&self, error: &StoreError) {
        let now = Instant::now();
        let mut say = false;
        self.outage.send_modify(|outage| {
            let outage = outage.get_or_insert_with(|| Outage::begins(now));
            outage.failed_at = Some(now);
            say = outage.failures == 0 || now.duration_since(outage.said_at) >= SAY_EVERY;
            outage.failures += 1;
            if say {
                outage.said_at = now;
            }
        });
        let failures = self.outage.borrow().map_or(0, |outage| outage.failures);
        if say {
            tracing::warn!(
                side = self.side.name(),
                %error,
                failures,
                "the database did not take a batch: retrying until it does"
            );
        } else {
            tracing::debug!(side = self.side.name(), %error, failures, "the database did not take a batch");
        }
    }

    /// Waits until a batch that the other database has taken, and that has been tried on this one since then, should no
    /// longer wait for it.
    pub(crate) async fn out_of_patience(&self, tried_since: Instant) {
        let silent_until = Instant::now() + self.change_silent(|silent| silent);
        let mut outages = self.outage.subscribe();
        loop {
            let outage = *outages.borrow_and_update();
            let failing_until = outage.and_then(|outage| outage.failing_until(tried_since));
            let until = failing_until.map_or(silent_until, |failing_until| failing_until.min(silent_until));
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                // The sender lives as long as this value.
                _changed = outages.changed() => {}
            }
        }
        if Instant::now() >= silent_until {
            self.change_silent(|silent| (silent * 2).min(MOST_SILENT));
        }
        self.set_away();
    }

    fn change_silent(&self, change: impl Fn(Duration) -> Duration) -> Duration {
        // A duration is whole whoever panics.
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = change(*silent);
        *silent
    }

    fn set_away(&self) {
        let now = Instant::now();
        let mut began = false;
        self.outage.send_modify(|outage| {
            let outage = outage.get_or_insert_with(|| Outage::begins(now));
            began = !outage.is_away;
            outage.is_away = true;
        });
        if began {
            metrics::side_away(self.side, true);
            tracing::warn!(
                side = self.side.name(),
                "the database takes nothing: batches that the other one has are set aside until it does"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> StoreError {
        StoreError::Timeout(Duration::ZERO)
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_fails_is_away_soon_and_a_silent_one_later() {
        let health = SideHealth::new(Side::Telemetry);
        let start = Instant::now();
        health.failed(&failure());
        assert!(!health.is_away(), "once is not enough");
        health.out_of_patience(start).await;
        assert_eq!((start.elapsed().as_secs(), health.is_away()), (FAILING.as_secs(), true));
        health.answered();
        assert!(!health.is_away());

        let start = Instant::now();
        health.out_of_patience(start).await;
        assert_eq!((start.elapsed().as_secs(), health.is_away()), (SILENT.as_secs(), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_tried_anew_on_a_database_that_failed_before() {
        let health = SideHealth::new(Side::State);
        health.failed(&failure());
        tokio::time::sleep(2 * FAILING).await;
        let start = Instant::now();
        let failing = async {
            tokio::time::sleep(FAILING / 2).await;
            health.failed(&failure());
        };
        tokio::join!(health.out_of_patience(start), failing);
        assert_eq!(start.elapsed(), FAILING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_is_waited_for_longer_and_longer() {
        let health = SideHealth::new(Side::Telemetry);
        let mut waited = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            health.out_of_patience(start).await;
            waited.push(start.elapsed().as_secs());
        }
        assert_eq!(waited, [5, 10, 20]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_waiting_shortens_the_wait() {
        let health = SideHealth::new(Side::State);
        let start = Instant::now();
        let waiting = health.out_of_patience(start);
        let failing = async {
            tokio::time::sleep(FAILING).await;
            health.failed(&failure());
        };
        tokio::join!(waiting, failing);
        assert_eq!(start.elapsed().as_secs(), 2 * FAILING.as_secs(), "from the failure on");
    }
}

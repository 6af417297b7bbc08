//! Parses stored telemetry again, and merges the events into the current state: for events that an earlier parser misread.
//!
//! The windows are read from the newest to the oldest, each in pages by the unique key. The rows of a page are of few vehicles,
//! so each vehicle is written at most once or twice for each day of telemetry. Only vehicles that change are written. An
//! interrupted replay can be run again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use fleet_providers::{Limits, PROVIDERS, Provider};
use fleet_runtime::retry::RetryPauses;
use fleet_runtime::settings::Settings;
use fleet_store::{
    ErrorClass, Page, PageBounds, PageCursor, StateStore, StoreError, StoredTelemetry, TelemetryStore, Window,
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::batch::fold::fold;
use crate::commands::replay::changes::Changes;
use crate::commands::replay::outcome::{End, Outcome, Progress};
use crate::commands::replay::page::parse_page;
use crate::connect::Databases;
use crate::rate_limit::RateLimit;

/// Most bytes of raw events in one page.
const PAGE_BYTES: i64 = 8 * 1024 * 1024;
/// The smallest page. Pages get smaller if the database is too slow for them.
const MIN_PAGE_ROWS: i64 = 100;
/// How long a failed statement is retried before the replay gives up.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// What to replay, and how.
#[derive(Debug)]
pub(crate) struct Replay {
    state: StateStore,
    telemetry: TelemetryStore,
    limits: Limits,
    range: Range<Timestamp>,
    provider: Option<&'static str>,
    dry_run: bool,
    page: PageBounds,
    rate_limit: RateLimit,
    retries: RetryPauses,
}

impl Replay {
    /// A replay of what was observed in `range`, of one provider or of all.
    pub(crate) fn new(
        settings: &Settings,
        databases: Databases,
        range: Range<Timestamp>,
        provider: Option<&'static str>,
        dry_run: bool,
    ) -> Self {
        let days = i64::from(settings.retention.telemetry_days);
        let rows = i64::try_from(settings.consumer.max_transaction_events).unwrap_or(i64::MAX).max(1);
        Self {
            state: StateStore::new(databases.state),
            telemetry: TelemetryStore::new(databases.telemetry),
            limits: Limits { max_age: SignedDuration::from_hours(days * 24), ..Limits::default() },
            // PostgreSQL's calendar begins later than this one. No event is older than the epoch.
            range: range.start.max(Timestamp::UNIX_EPOCH)..range.end.max(Timestamp::UNIX_EPOCH),
            provider,
            dry_run,
            page: PageBounds { rows, bytes: PAGE_BYTES },
            rate_limit: RateLimit::new(settings.consumer.max_events_per_second),
            retries: settings.consumer.retries(),
        }
    }

    /// Replays until the range is done, a database has failed for a minute, or `shutdown`. Calls `progress` after every page.
    pub(crate) async fn run(
        &self,
        shutdown: &CancellationToken,
        mut progress: impl FnMut(Progress),
    ) -> Outcome {
        let mut outcome = Outcome {
            dry_run: self.dry_run,
            end: End::Complete,
            range: self.range.clone(),
            done_from: self.range.end,
            events: 0,
            unparsable: BTreeMap::new(),
            other_identity: 0,
            corrected: 0,
            changes: Changes::new(self.dry_run),
        };
        match self.all_windows(shutdown, &mut outcome, &mut progress).await {
            Ok(()) => outcome.done_from = self.range.start,
            Err(end) => outcome.end = end,
        }
        outcome
    }

    async fn all_windows(
        &self,
        shutdown: &CancellationToken,
        outcome: &mut Outcome,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), End> {
        // No retry: an operator with a wrong URL should see the error at once.
        let windows = self.telemetry.windows(self.range.start, self.range.end).await?;
        let length = |window: &Window| window.to.duration_since(window.from).as_secs_f64();
        let total: f64 = windows.iter().map(length).sum();
        let mut before = 0.0;
        for window in windows {
            let (mut cursor, mut bounds) = (PageCursor::new(window), self.page);
            while !cursor.is_done() {
                let page = self.read(shutdown, &mut cursor, &mut bounds).await?;
                self.apply(shutdown, &page.rows, outcome).await?;
                cursor.advance(&page, bounds.rows);
                let done = (before + length(&window) * place(cursor.after().vehicle_id)) / total;
                progress(Progress { events: outcome.events, done, window_from: window.from });
                tokio::select! {
                    () = self.rate_limit.wait(page.rows.len()) => {}
                    // Reading the next page ends the replay then.
                    () = shutdown.cancelled() => {}
                }
            }
            before += length(&window);
            outcome.done_from = window.from;
        }
        Ok(())
    }

    /// The next page; a smaller one if the database is too slow.
    async fn read(
        &self,
        shutdown: &CancellationToken,
        cursor: &mut PageCursor,
        bounds: &mut PageBounds,
    ) -> Result<Page, End> {
        loop {
            let (size, from) = (*bounds, *cursor);
            let read = || async move {
                match self.telemetry.page(&from, self.provider, size).await {
                    Err(error)
                        if error.class() == ErrorClass::TooSlow
                            && (size.rows > MIN_PAGE_ROWS || from.can_narrow()) =>
                    {
                        Ok(None)
                    }
                    page => page.map(Some),
                }
            };
            match self.retry(shutdown, read).await? {
                Some(page) => return Ok(page),
                None => {
                    if bounds.rows > MIN_PAGE_ROWS {
                        bounds.rows /= 2;
                    }
                    cursor.narrow();
                }
            }
        }
    }

    /// Parses a page, and writes what it changes.
    async fn apply(
        &self,
        shutdown: &CancellationToken,
        page: &[StoredTelemetry],
        outcome: &mut Outcome,
    ) -> Result<(), End> {
        let (parsed, corrections) = parse_page(&self.limits, page, outcome);
        if !self.dry_run && !corrections.is_empty() {
            let correct = || self.telemetry.correct(&corrections);
            self.retry(shutdown, correct).await?;
        }
        outcome.corrected += corrections.len() as u64;
        for Provider { slug, .. } in PROVIDERS {
            let own = parsed.iter().filter(|parsed| parsed.provider == *slug);
            let vehicles = fold(own.map(|parsed| &parsed.event));
            let ids: Vec<_> = vehicles.iter().map(|vehicle| vehicle.vehicle_id).collect();
            if ids.is_empty() {
                continue;
            }
            let known = self.retry(shutdown, || self.state.vehicles(&ids)).await?;
            let known: HashMap<_, _> =
                known.into_iter().map(|vehicle| (vehicle.vehicle_id, vehicle)).collect();
            let mut raised = vehicles;
            raised.retain(|vehicle| outcome.changes.add(slug, known.get(&vehicle.vehicle_id), vehicle));
            if !self.dry_run && !raised.is_empty() {
                self.retry(shutdown, || self.state.raise(slug, &raised)).await?;
            }
        }
        Ok(())
    }

    /// Retries while a database is down, for at most [`RETRY_FOR`]. `shutdown` abandons a running statement: it is stored
    /// whole or not at all, and both are correct.
    async fn retry<T, Calling: Future<Output = Result<T, StoreError>>>(
        &self,
        shutdown: &CancellationToken,
        call: impl Fn() -> Calling,
    ) -> Result<T, End> {
        let start = Instant::now();
        let mut backoff = self.retries.start();
        loop {
            let result = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(End::Stopped),
                result = call() => result,
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let pause = backoff.next_pause();
            match error.class() {
                ErrorClass::Unavailable | ErrorClass::Session | ErrorClass::TooSlow | ErrorClass::Locked
                    if start.elapsed() < RETRY_FOR && !error.is_refused() =>
                {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "retrying");
                }
                ErrorClass::Unavailable
                | ErrorClass::Session
                | ErrorClass::TooSlow
                | ErrorClass::Locked
                | ErrorClass::Poison
                | ErrorClass::Fatal => return Err(End::Failed(error)),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Err(End::Stopped),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Which fraction of all vehicles comes before this one. Their ids are evenly distributed.
fn place(vehicle_id: Uuid) -> f64 {
    let [a, b, c, d, ..] = vehicle_id.into_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX)
}

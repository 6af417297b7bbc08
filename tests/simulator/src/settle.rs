//! Waits until the consumers have applied everything, then compares.

use std::time::{Duration, Instant};

use crate::compare::{Mismatch, compare};
use crate::database::Database;
use crate::error::Error;
use crate::exactly_once::Violations;
use crate::progress::Progress;
use crate::record::Record;
use crate::tables::{Queues, dead_letters, telemetry_rows, vehicle_ids};
use crate::vehicle::Vehicle;

/// With an empty backlog nothing more will come; with all telemetry there, state may still be on its way.
const STATE_LAG: Duration = Duration::from_secs(10);
/// Between two looks, unless a look itself takes long.
const PAUSE: Duration = Duration::from_millis(250);
/// Before the last count, for rows there should not be.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Where everything is looked up.
#[derive(Debug)]
pub struct Stores {
    /// Current state.
    pub state: Database,
    /// Telemetry and dead letters.
    pub telemetry: Database,
    /// Backlog, if it is known.
    pub queues: Option<Queues>,
}

/// What the databases said in the end.
#[derive(Debug)]
pub struct Settled {
    /// Telemetry rows of the run's vehicles.
    pub telemetry_rows: u64,
    /// Accepted and not settled messages, if Redis is known.
    pub backlog: Option<i64>,
    /// Dead letters since the run's start.
    pub dead_letters: u64,
    /// Reports that are lost, repeated or stored although they were refused.
    pub violations: Violations,
    /// Differences.
    pub mismatches: Vec<Mismatch>,
}

impl Stores {
    async fn look(&mut self, fleet: &[Vehicle]) -> Result<(u64, Option<i64>), Error> {
        let rows = telemetry_rows(&mut self.state, &mut self.telemetry, fleet).await?;
        let backlog = match &self.queues {
            Some(queues) => Some(queues.ledger().await?.backlog()),
            None => None,
        };
        Ok((u64::try_from(rows).unwrap_or(0), backlog))
    }

    /// Waits until every acknowledged event has its row and the backlog is empty, for `patience` after the last
    /// visible progress; then compares every vehicle. Errors are waited out like any other standstill.
    ///
    /// # Errors
    /// If a database or Redis still fails when the patience is over.
    pub async fn settle(
        &mut self,
        fleet: &[Vehicle],
        record: &Record,
        patience: Duration,
        since_ms: i64,
        progress: &mut Progress,
    ) -> Result<Settled, Error> {
        let mut seen = (0, None);
        let mut moved = Instant::now();
        loop {
            let started = Instant::now();
            let looked = self.look(fleet).await;
            if let Ok(now) = looked
                && now != seen
            {
                (seen, moved) = (now, Instant::now());
            }
            progress.settling(seen.0, record.distinct_events, seen.1);
            let all_there =
                looked.is_ok() && seen.0 >= record.distinct_events && seen.1.is_none_or(|left| left <= 0);
            let nothing_comes = looked.is_ok() && seen.1.is_some_and(|left| left <= 0);
            let is_short = all_there || nothing_comes;
            let is_over = moved.elapsed() >= if is_short { patience.min(STATE_LAG) } else { patience };
            if is_over {
                looked?;
                return self.conclude(fleet, record, since_ms).await;
            }
            if all_there
                && matches!(compare(&mut self.state, fleet, record).await, Ok(found) if found.is_empty())
            {
                return self.conclude(fleet, record, since_ms).await;
            }
            // Counting must not become the database's main occupation.
            tokio::time::sleep(PAUSE.max(started.elapsed() * 3)).await;
        }
    }

    async fn conclude(
        &mut self,
        fleet: &[Vehicle],
        record: &Record,
        since_ms: i64,
    ) -> Result<Settled, Error> {
        tokio::time::sleep(AFTERMATH).await;
        let mismatches = compare(&mut self.state, fleet, record).await?;
        let (telemetry_rows, backlog) = self.look(fleet).await?;
        let ids = vehicle_ids(&mut self.state, fleet).await?;
        let violations = record.fates.verify(&mut self.telemetry, &ids).await?;
        let dead_letters = dead_letters(&mut self.telemetry, since_ms).await?;
        let dead_letters = u64::try_from(dead_letters).unwrap_or(0);
        Ok(Settled { telemetry_rows, backlog, dead_letters, violations, mismatches })
    }
}

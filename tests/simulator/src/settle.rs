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

/// When the backlog is empty or all telemetry is stored, the vehicle state may still be behind by this much.
const STATE_LAG: Duration = Duration::from_secs(10);
/// When the backlog is empty, the broker may still have messages, and the bridge may pause for so long before it consumes them.
const BROKER_LAG: Duration = Duration::from_secs(30);
/// The minimum pause between two checks.
const PAUSE: Duration = Duration::from_millis(250);
/// The pause before the last count, to find unexpected rows.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The databases and queues to check.
#[derive(Debug)]
pub struct Stores {
    /// The database of the vehicle state.
    pub state: Database,
    /// The database of telemetry and dead letters.
    pub telemetry: Database,
    /// The queues, if Redis is known.
    pub queues: Option<Queues>,
    /// Whether events also come from a broker, which may still have some when the queues are empty.
    pub has_broker: bool,
}

/// The final state of the databases.
#[derive(Debug)]
pub struct Settled {
    /// Telemetry rows of the run's vehicles.
    pub telemetry_rows: u64,
    /// Messages that are accepted and not settled, if Redis is known.
    pub backlog: Option<i64>,
    /// Dead letters since the run's start.
    pub dead_letters: u64,
    /// Reports that are lost, repeated or stored although they were rejected.
    pub violations: Violations,
    /// The attributes that differ.
    pub mismatches: Vec<Mismatch>,
}

impl Stores {
    async fn read_counts(&mut self, fleet: &[Vehicle]) -> Result<(u64, Option<i64>), Error> {
        let rows = telemetry_rows(&mut self.state, &mut self.telemetry, fleet).await?;
        let backlog = match &self.queues {
            Some(queues) => Some(queues.ledger().await?.backlog()),
            None => None,
        };
        Ok((u64::try_from(rows).unwrap_or(0), backlog))
    }

    /// Waits until every acknowledged event has its row and the backlog is empty, then compares every
    /// vehicle. The wait ends when there was no visible progress for `patience`. Errors count as no progress.
    ///
    /// # Errors
    ///
    /// If a database or Redis still fails at the end of the wait.
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
            let looked = self.read_counts(fleet).await;
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
            let lag = if self.has_broker && !all_there { BROKER_LAG } else { STATE_LAG };
            let is_over = moved.elapsed() >= if is_short { patience.min(lag) } else { patience };
            if is_over {
                looked?;
                return self.conclude(fleet, record, since_ms).await;
            }
            if all_there
                && matches!(compare(&mut self.state, fleet, record).await, Ok(found) if found.is_empty())
            {
                return self.conclude(fleet, record, since_ms).await;
            }
            // Limits how much of the database's time the counting takes.
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
        let (telemetry_rows, backlog) = self.read_counts(fleet).await?;
        let ids = vehicle_ids(&mut self.state, fleet).await?;
        let violations = record.fates.verify(&mut self.telemetry, &ids).await?;
        let dead_letters = dead_letters(&mut self.telemetry, since_ms).await?;
        let dead_letters = u64::try_from(dead_letters).unwrap_or(0);
        Ok(Settled { telemetry_rows, backlog, dead_letters, violations, mismatches })
    }
}

//! Keeps the fleet up to date: reads what has changed in the table, again and again.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::retry::RetryPauses;
use fleet_store::{Database, FoundVehicle, Horizon, Look, Lookout, StoreError};
use uuid::Uuid;

use crate::fleet::{Change, Fleet};
use crate::knowledge::{Knowledge, Read};
use crate::metrics;

/// Rows that are decoded before other tasks get their turn.
const ROWS_AT_A_TIME: usize = 100;

/// Pauses after failures. An outage should end here when it ends in the database.
const PAUSES: RetryPauses =
    RetryPauses { first: Duration::from_millis(250), longest: Duration::from_secs(2) };

/// Reads the table into memory.
pub(crate) struct Refresh {
    lookout: Lookout,
    knowledge: Arc<Knowledge>,
    readiness: Arc<Readiness>,
    interval: Duration,
    horizon: Option<Horizon>,
}

impl Refresh {
    pub(crate) fn new(
        lookout: Lookout,
        knowledge: Arc<Knowledge>,
        readiness: Arc<Readiness>,
        interval: Duration,
    ) -> Self {
        Self { lookout, knowledge, readiness, interval, horizon: None }
    }

    /// Reads until it is dropped.
    pub(crate) async fn run(mut self) -> Infallible {
        let (mut outage, mut pauses) = (OutageLog::default(), PAUSES.start());
        loop {
            let started = Instant::now();
            let pause = match self.look().await {
                Ok(()) => {
                    if let Some(Over { failures, lasted }) = outage.succeeded(Instant::now()) {
                        tracing::info!(failures, seconds = lasted.as_secs(), "vehicles can be read again");
                    }
                    pauses.reset();
                    self.interval.saturating_sub(started.elapsed())
                }
                Err(error) => {
                    self.failed(&error, &mut outage);
                    pauses.next_pause()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn failed(&mut self, error: &StoreError, outage: &mut OutageLog) {
        metrics::look_failed(error.label());
        if let Some(Failing { failures, lasted }) = outage.failed(Instant::now(), 1) {
            let (seconds, age_s) = (lasted.as_secs(), self.knowledge.age().as_secs());
            tracing::warn!(
                failures,
                seconds,
                age_s,
                %error,
                "cannot read vehicles: serving what is known, with its age"
            );
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let read = Read::now();
        let (rows, changes) = match &self.horizon {
            Some(horizon) => match self.lookout.changed(horizon).await? {
                Some(look) => self.add(read, look).await?,
                None => self.read_all().await?,
            },
            None => self.read_all().await?,
        };
        metrics::looked(read.age(), rows, changes, self.knowledge.get().fleet.len());
        self.readiness.set_started();
        Ok(())
    }

    /// Adds what has changed. Returns how many rows were read, and how many changes they were.
    async fn add(&mut self, read: Read, look: Look) -> Result<(usize, usize), StoreError> {
        let found = decode(&look).await;
        // What a standby of the same primary has once shown does not become older.
        let read = read.behind(look.behind);
        let read = self.knowledge.read().map_or(read, |last| read.max(last));
        let changes = self.knowledge.update(read, |fleet| put(fleet, found));
        // Every row of the table is known now, so that fewer rows mean that some were deleted.
        if self.knowledge.get().fleet.len() != look.vehicles {
            let (rows, more) = self.read_all().await?;
            return Ok((rows + look.len(), changes + more));
        }
        self.horizon = Some(look.horizon.clone());
        Ok((look.len(), changes))
    }

    /// Reads every vehicle, and removes those that no longer exist. What changes meanwhile is found by the next read, which goes on
    /// from the beginning of this one.
    async fn read_all(&mut self) -> Result<(usize, usize), StoreError> {
        self.horizon = None;
        let mut read = Read::now();
        let (mut seen, mut changes) = (HashSet::new(), 0);
        let (mut after, mut horizon) = (Uuid::nil(), None);
        loop {
            let look = self.lookout.page(after).await?;
            if horizon.is_none() {
                horizon = Some(look.horizon.clone());
                read = read.behind(look.behind);
            }
            let found = decode(&look).await;
            let Some(last) = found.last() else { break };
            after = last.vehicle.vehicle_id;
            seen.extend(found.iter().map(|found| found.vehicle.vehicle_id));
            changes += self.knowledge.update_part(read, |fleet| put(fleet, found));
        }
        changes += self.knowledge.update(read, |fleet| fleet.keep_only(&seen));
        self.horizon = horizon;
        Ok((seen.len(), changes))
    }
}

fn put(fleet: &mut Fleet, found: Vec<FoundVehicle>) -> Vec<Change> {
    found.into_iter().filter_map(|found| fleet.put(found)).collect()
}

/// Decodes the rows, and lets other tasks run meanwhile.
async fn decode(look: &Look) -> Vec<FoundVehicle> {
    let mut found = Vec::with_capacity(look.len());
    for (index, vehicle) in look.found().enumerate() {
        found.push(vehicle);
        if index % ROWS_AT_A_TIME == ROWS_AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
    }
    found
}

/// Watches the age of what is known: it decides about readiness while nothing can be read. Also shows how busy the connections for
/// tracks are.
pub(crate) async fn watch_age(
    knowledge: Arc<Knowledge>,
    readiness: Arc<Readiness>,
    max_age: Duration,
    tracks: Database,
) -> Infallible {
    let mut was_outdated = false;
    loop {
        let age = knowledge.age();
        metrics::knowledge_age(age);
        metrics::track_pool(tracks.pool_usage());
        let is_outdated = knowledge.read().is_some() && age > max_age;
        readiness.set_outdated(is_outdated);
        if is_outdated && !was_outdated {
            tracing::warn!(
                age_s = age.as_secs(),
                "what is known about the vehicles is older than FLEET_QUERY__MAX_AGE: not ready"
            );
        }
        was_outdated = is_outdated;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

//! Keeps the fleet up to date: reads what has changed in the table, again and again.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::retry::RetryPauses;
use fleet_store::{FoundVehicle, Horizon, Look, Lookout, StoreError};
use uuid::Uuid;

use crate::fleet::{Change, Fleet};
use crate::knowledge::{Knowledge, Read};
use crate::metrics;

/// Rows that are decoded before other tasks get their turn.
const ROWS_AT_A_TIME: usize = 500;

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
        let look = self.lookout.look(self.horizon.as_ref()).await?;
        let mut rows = look.len();
        let found = decode(&look).await;
        let mut changes = if look.is_complete { self.replace(read, found) } else { self.add(read, found) };
        // Every row of the table is known now, so that fewer rows mean that some were deleted.
        if self.knowledge.get().fleet.len() != look.vehicles {
            let (again, more) = self.reread().await?;
            (rows, changes) = (rows + again, changes + more);
        } else {
            self.horizon = Some(look.horizon);
        }
        metrics::looked(read.age(), rows, changes, self.knowledge.get().fleet.len());
        self.readiness.set_started();
        Ok(())
    }

    /// Reads every vehicle. Returns how many rows that were, and how many changes.
    async fn reread(&mut self) -> Result<(usize, usize), StoreError> {
        self.horizon = None;
        let read = Read::now();
        let look = self.lookout.look(None).await?;
        let changes = self.replace(read, decode(&look).await);
        let rows = look.len();
        self.horizon = Some(look.horizon);
        Ok((rows, changes))
    }

    fn add(&self, read: Read, found: Vec<FoundVehicle>) -> usize {
        self.knowledge.update(read, |fleet| put(fleet, found))
    }

    fn replace(&self, read: Read, found: Vec<FoundVehicle>) -> usize {
        let kept: HashSet<Uuid> = found.iter().map(|found| found.vehicle.vehicle_id).collect();
        self.knowledge.update(read, |fleet| {
            let mut changes = fleet.keep_only(&kept);
            changes.extend(put(fleet, found));
            changes
        })
    }
}

fn put(fleet: &mut Fleet, found: Vec<FoundVehicle>) -> Vec<Change> {
    found.into_iter().filter_map(|found| fleet.put(found)).collect()
}

/// Decodes the rows, and lets other tasks run meanwhile: a whole fleet takes a while.
async fn decode(look: &Look) -> Vec<FoundVehicle> {
    let mut found = Vec::with_capacity(look.len());
    for (index, vehicle) in look.changed().enumerate() {
        found.push(vehicle);
        if index % ROWS_AT_A_TIME == ROWS_AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
    }
    found
}

/// Watches the age of what is known: it decides about readiness while nothing can be read.
pub(crate) async fn watch_age(
    knowledge: Arc<Knowledge>,
    readiness: Arc<Readiness>,
    max_age: Duration,
) -> Infallible {
    let mut was_outdated = false;
    loop {
        let age = knowledge.age();
        metrics::knowledge_age(age);
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

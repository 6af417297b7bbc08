//! The state of a part's vehicles, and what becomes of new ones beyond the cap.

use std::collections::{BTreeMap, HashSet};

use fleet_store::{StoreError, VehicleState};
use tokio::time::Instant;
use uuid::Uuid;

use crate::batch::fold::fold;
use crate::batch::parse::{Rejection, Record};
use crate::metrics::{self, DatabaseKind, timed};
use crate::write::dead_letter_log;
use crate::write::transactions::{Target, Task};
use crate::write::writer::{Writer, event};

impl Writer {
    /// Stores the vehicles of a part. Events of new vehicles beyond the cap become dead letters first: if the state fails
    /// then, all of this is tried again.
    pub(super) async fn store_vehicles(
        &self,
        target: Target<'_>,
        task: &Task,
    ) -> Result<(), (DatabaseKind, StoreError)> {
        let of_state = |error| (DatabaseKind::State, error);
        let mut vehicles = fold(target.records_of(task).filter_map(event));
        let refused = self.beyond_cap(&vehicles).await.map_err(of_state)?;
        vehicles.retain(|vehicle| !refused.contains(&vehicle.vehicle_id));
        let dead = self.dead_letters(target, task, &refused);
        if !dead.is_empty() {
            let letters: Vec<_> = dead.iter().map(|(record, rejection)| record.dead_letter(rejection)).collect();
            let buried = timed(DatabaseKind::Telemetry, self.telemetry.bury(target.provider, &letters)).await;
            buried.map_err(|error| (DatabaseKind::Telemetry, error))?;
        }
        let stored = timed(DatabaseKind::State, self.state.write(&target.part(task), &vehicles)).await;
        let new_vehicles = stored.map_err(of_state)?;
        let buried = dead.iter().map(|(record, rejection)| (*record, rejection));
        dead_letter_log::dead_letters(target.provider, target.lease_id, buried);
        let events = target.records_of(task).filter_map(event);
        let events = events.filter(|event| !refused.contains(&event.vehicle_id)).count();
        metrics::folded(target.provider, events, vehicles.len(), new_vehicles);
        Ok(())
    }

    /// Which of the vehicles are new and beyond the cap; none without a cap.
    async fn beyond_cap(&self, vehicles: &[VehicleState<'_>]) -> Result<HashSet<Uuid>, StoreError> {
        let Some(cap) = &self.new_vehicles else { return Ok(HashSet::new()) };
        let ids: Vec<_> = vehicles.iter().map(|vehicle| vehicle.vehicle_id).collect();
        let unknown = self.state.unknown_vehicles(&ids).await?;
        Ok(cap.refuse(&unknown, Instant::now()))
    }

    /// One dead letter for each message with events of refused vehicles, in the place of the first of these events: a letter
    /// for each event would let a message of 1 MiB make thousands.
    fn dead_letters<'a>(
        &self,
        target: Target<'a>,
        task: &Task,
        refused: &HashSet<Uuid>,
    ) -> Vec<(&'a Record<'a>, Rejection)> {
        let Some(cap) = &self.new_vehicles else { return Vec::new() };
        let is_refused =
            |record: &&Record<'_>| event(record).is_some_and(|event| refused.contains(&event.vehicle_id));
        let mut messages = BTreeMap::new();
        for record in target.records_of(task).filter(is_refused) {
            let (_first, events) = messages.entry(record.message.message_id).or_insert((record, 0_usize));
            *events += 1;
        }
        let rejection = |events| Rejection::too_many_new_vehicles(target.provider, cap.per_minute(), events);
        messages.into_values().map(|(first, events)| (first, rejection(events))).collect()
    }
}

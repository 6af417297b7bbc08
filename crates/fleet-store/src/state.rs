//! The current state of every vehicle.

use std::collections::HashSet;

use fleet_failpoints::Failpoint;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::deletion::count;
use crate::settled::SETTLED_STATE_PARTS;
use crate::upsert::{raise_state, store_state};
use crate::vehicle_row::{StoredVehicle, VehicleState};
use crate::{Database, Part, StoreError};

/// Those of the given vehicles that have no row.
pub const UNKNOWN_VEHICLES: &str = "SELECT vehicle_id FROM unnest($1::uuid[]) AS asked (vehicle_id)
      WHERE NOT EXISTS (SELECT FROM vehicles WHERE vehicles.vehicle_id = asked.vehicle_id)";

/// Reads and writes `vehicles`.
#[derive(Clone, Debug)]
pub struct StateStore {
    database: Database,
}

impl StateStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The parts of a lease that are already stored, as (first record, records).
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn settled(&self, lease_id: Uuid) -> Result<HashSet<(i32, i32)>, StoreError> {
        self.database.settled_parts(SETTLED_STATE_PARTS, lease_id).await
    }

    /// Stores the vehicles of a part, at most one entry each, **sorted by `vehicle_id`**: two consumers that update
    /// the same vehicles in different orders would deadlock. Returns the number of new vehicles.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. Nothing of the part is stored then, or all of it: the same call may be repeated.
    pub async fn write(&self, part: &Part<'_>, vehicles: &[VehicleState<'_>]) -> Result<u64, StoreError> {
        debug_assert!(
            Failpoint::UnsortedUpsert.is_active() || vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id),
            "vehicles must be sorted"
        );
        let written = i32::try_from(vehicles.len()).unwrap_or(i32::MAX);
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&part.provider, &part.lease_id, &part.first_record, &part.records, &written, &vehicles];
        Ok(count(&self.database.query_one(store_state(), &parameters).await?))
    }

    /// The rows of these vehicles, in any order. Unknown vehicles are left out.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn vehicles(&self, vehicle_ids: &[Uuid]) -> Result<Vec<StoredVehicle>, StoreError> {
        let query = "SELECT * FROM vehicles WHERE vehicle_id = ANY($1::uuid[])";
        Ok(self.database.query(query, &[&vehicle_ids]).await?.iter().map(StoredVehicle::from).collect())
    }

    /// Those of the given vehicles that have no row.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn unknown_vehicles(&self, vehicle_ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let rows = self.database.query(UNKNOWN_VEHICLES, &[&vehicle_ids]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Merges vehicles, at most one entry each and sorted as for [`StateStore::write`], without storing a part. The
    /// audit counts only what came from the queues.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. Nothing is stored then, unless only the response was lost.
    pub async fn raise(&self, provider: &str, vehicles: &[VehicleState<'_>]) -> Result<(), StoreError> {
        debug_assert!(vehicles.is_sorted_by_key(|vehicle| vehicle.vehicle_id), "vehicles must be sorted");
        self.database.query(raise_state(), &[&provider, &vehicles]).await?;
        Ok(())
    }
}

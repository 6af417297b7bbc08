//! Whether a database accepts a record that cannot be at fault. If it does not, a record that it has refused is not at
//! fault either, but a table, a trigger or a constraint that somebody has changed.

use std::borrow::Cow;

use fleet_providers::{Attributes, VehicleEvent};
use jiff::Timestamp;
use uuid::Uuid;

use crate::upsert::store_state;
use crate::vehicle_row::{StoredVehicle, VehicleState};
use crate::{Part, StateStore, StoreError, TelemetryRow, TelemetryStore};

/// One that is there. If somebody restricts which vehicles may be stored, a made-up one would be refused.
const ANY_VEHICLE: &str = "SELECT * FROM vehicles WHERE provider = $1 LIMIT 1";

impl StateStore {
    /// Writes a harmless vehicle of this provider, seen at `at`, and rolls it back.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]: the error of a record before it was not that record's fault.
    pub async fn try_harmless(&self, provider: &str, at: Timestamp) -> Result<(), StoreError> {
        let rows = self.database().query(ANY_VEHICLE, &[&provider]).await?;
        let known = rows.first().map(StoredVehicle::from);
        let made_up = VehicleState {
            vehicle_id: Uuid::nil(),
            provider_vehicle_id: "HARMLESS",
            attributes: Attributes::default(),
            first_seen_at: at,
            last_seen_at: at,
            clock_skewed_at: None,
        };
        let vehicle = known.as_ref().map_or(made_up, StoredVehicle::state);
        let vehicles = [vehicle];
        let vehicles = vehicles.as_slice();
        self.database().rehearse(store_state(), &[&provider, &Uuid::nil(), &0, &1, &1, &vehicles]).await
    }
}

impl TelemetryStore {
    /// Writes a harmless event of this provider, received at `at`, and rolls it back.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]: the error of a record before it was not that record's fault.
    pub async fn try_harmless(&self, provider: &str, at: Timestamp) -> Result<(), StoreError> {
        let event = VehicleEvent {
            vehicle_id: Uuid::nil(),
            provider_vehicle_id: Cow::Borrowed("HARMLESS"),
            event_id: Uuid::nil(),
            kind: Cow::Borrowed("status"),
            provider_event_id: None,
            observed_at: at,
            received_at: at,
            clock_skewed: false,
            attributes: Attributes::default(),
            dropped: Vec::new(),
            raw: Cow::Borrowed("{}"),
        };
        let part = Part { lease_id: Uuid::nil(), provider, first_record: 0, records: 1 };
        self.rehearse(&part, &[TelemetryRow { event: &event, message_id: Uuid::nil(), topic: "" }]).await
    }
}

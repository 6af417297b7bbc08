//! Reading the current state.

use fleet_providers::{Attributes, Position, Timed};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::{StateStore, StoreError, VehicleState};

/// A row of `vehicles`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVehicle {
    /// See [`fleet_providers::vehicle_id`].
    pub vehicle_id: Uuid,
    /// The provider's own id.
    pub provider_vehicle_id: String,
    /// The attributes; one whose value or time is missing is absent.
    pub attributes: Attributes,
    /// The earliest receipt.
    pub first_seen_at: Timestamp,
    /// The latest receipt.
    pub last_seen_at: Timestamp,
    /// The latest receipt of an event with a time that is not believed.
    pub clock_skewed_at: Option<Timestamp>,
}

impl StoredVehicle {
    /// The same, its name borrowed.
    pub fn state(&self) -> VehicleState<'_> {
        VehicleState {
            vehicle_id: self.vehicle_id,
            provider_vehicle_id: &self.provider_vehicle_id,
            attributes: self.attributes,
            first_seen_at: self.first_seen_at,
            last_seen_at: self.last_seen_at,
            clock_skewed_at: self.clock_skewed_at,
        }
    }
}

impl From<&VehicleState<'_>> for StoredVehicle {
    fn from(state: &VehicleState<'_>) -> Self {
        Self {
            vehicle_id: state.vehicle_id,
            provider_vehicle_id: state.provider_vehicle_id.to_owned(),
            attributes: state.attributes,
            first_seen_at: state.first_seen_at,
            last_seen_at: state.last_seen_at,
            clock_skewed_at: state.clock_skewed_at,
        }
    }
}

impl StateStore {
    /// The rows of these vehicles, in no order; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn vehicles(&self, vehicle_ids: &[Uuid]) -> Result<Vec<StoredVehicle>, StoreError> {
        let query = "SELECT * FROM vehicles WHERE vehicle_id = ANY($1::uuid[])";
        Ok(self.database().query(query, &[&vehicle_ids]).await?.iter().map(stored).collect())
    }
}

fn stored(row: &Row) -> StoredVehicle {
    StoredVehicle {
        vehicle_id: row.get("vehicle_id"),
        provider_vehicle_id: row.get("provider_vehicle_id"),
        attributes: Attributes {
            position: position(row),
            speed_kmh: timed(row, "speed_kmh", ["speed_at", "speed_received_at"]),
            battery_percent: timed(row, "battery_percent", ["battery_at", "battery_received_at"]),
            range_m: timed(row, "range_m", ["range_at", "range_received_at"]),
            odometer_m: timed(row, "odometer_m", ["odometer_at", "odometer_received_at"]),
            powered_on: timed(row, "powered_on", ["powered_on_at", "powered_on_received_at"]),
            locked: timed(row, "locked", ["locked_at", "locked_received_at"]),
            charging: timed(row, "charging", ["charging_at", "charging_received_at"]),
            online: timed(row, "online", ["online_at", "online_received_at"]),
        },
        first_seen_at: row.get("first_seen_at"),
        last_seen_at: row.get("last_seen_at"),
        clock_skewed_at: row.get("clock_skewed_at"),
    }
}

fn timed<'a, T: FromSql<'a>>(row: &'a Row, value: &str, times: [&str; 2]) -> Option<Timed<T>> {
    let value: Option<T> = row.get(value);
    at(row, value?, times)
}

/// A value that was stored before receipts were counts as received before any.
fn at<T>(row: &Row, value: T, [at, received_at]: [&str; 2]) -> Option<Timed<T>> {
    let (at, received_at): (Option<Timestamp>, Option<Timestamp>) = (row.get(at), row.get(received_at));
    Some(Timed { value, at: at?, received_at: received_at.unwrap_or(Timestamp::MIN) })
}

fn position(row: &Row) -> Option<Timed<Position>> {
    let (lat, lon): (Option<f64>, Option<f64>) = (row.get("lat"), row.get("lon"));
    let value = Position {
        lat: lat?,
        lon: lon?,
        altitude_m: row.get("altitude_m"),
        heading_deg: row.get("heading_deg"),
        accuracy_m: row.get("accuracy_m"),
    };
    at(row, value, ["position_at", "position_received_at"])
}

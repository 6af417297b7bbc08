//! The data of events.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// The data of the events `snapshot` and `heartbeat`.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamState)]
pub(crate) struct StreamState {
    /// When the vehicles were read from the database.
    pub(crate) as_of: Timestamp,
    /// Seconds since then.
    pub(crate) age_s: f64,
    /// How many vehicles the snapshot has. Only in `snapshot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) vehicles: Option<usize>,
}

/// The data of the event `gone`.
#[derive(Serialize, ToSchema)]
#[schema(as = Gone)]
pub(crate) struct Gone {
    /// The vehicle that no longer meets the conditions, or has been deleted.
    pub(crate) vehicle_id: Uuid,
}

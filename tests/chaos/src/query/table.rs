//! The rows of `vehicles`, written as the service must write them, by PostgreSQL itself.

use fleet_testbed::Postgres;
use serde_json::Value;

use super::compare::{Fleet, comparable};
use crate::refuse::refuse;
use fleet_harness::Failure;

/// The columns under the names of the service's fields. Of the times of receipt it shows only that of the position.
const ROWS: &str = "SELECT (to_jsonb(v) - 'clock_skewed_at') || jsonb_build_object(
        'received_at', position_received_at,
        'clock_skewed', coalesce(last_seen_at - clock_skewed_at <= interval '24 hours', false))
   FROM vehicles v";

/// All vehicles in this database.
pub(super) fn read(state: &Postgres) -> Result<Fleet, Failure> {
    let rows = state.psql(ROWS)?;
    let vehicle = |row: &str| {
        let mut row: Value =
            serde_json::from_str(row).map_err(|error| refuse(format!("psql printed {row:?}: {error}")))?;
        if let Some(columns) = row.as_object_mut() {
            columns.retain(|name, _value| !name.ends_with("_received_at"));
        }
        comparable(row).ok_or_else(|| refuse("a row of vehicles has no vehicle_id"))
    };
    rows.lines().map(vehicle).collect()
}

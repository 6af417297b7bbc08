//! The database servers themselves: how safe committed batches are.

use metrics::gauge;
use strum::VariantArray;

use crate::database_kind::DatabaseKind;
use crate::metrics::declare::declare;

declare! {
    gauge DATABASE_WEAKNESSES = "fleet_consumer_database_durability_weaknesses",
        "Settings of a database server that endanger committed batches, and missing synchronous standbys; 0 is good";
    gauge SYNCHRONOUS_STANDBYS = "fleet_consumer_database_synchronous_standbys",
        "Standbys that have each commit before its batch is acknowledged, as far as the consumer may see them";
}

/// Exports every series, as if all were good, until the databases have responded.
pub(super) fn start_at_zero() {
    for &database in DatabaseKind::VARIANTS {
        weaknesses(database, 0);
        synchronous_standbys(database, None);
    }
}

/// Shows how many settings endanger committed batches.
pub(crate) fn weaknesses(database: DatabaseKind, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    gauge!(DATABASE_WEAKNESSES, "side" => database.name()).set(count);
}

/// Shows how many standbys have each commit; NaN if the login may not see them.
pub(crate) fn synchronous_standbys(database: DatabaseKind, standbys: Option<u32>) {
    gauge!(SYNCHRONOUS_STANDBYS, "side" => database.name()).set(standbys.map_or(f64::NAN, f64::from));
}

//! Publishes how busy the connection pools are.

use std::time::Duration;

use crate::connect::Databases;
use crate::metrics;

/// Publishes it once a `period`, until the process ends.
pub(crate) async fn observe(databases: Databases, period: Duration) {
    let Databases { state, telemetry } = databases;
    let pools = match state.shares_pool_with(&telemetry) {
        true => vec![("shared", state)],
        false => vec![("state", state), ("telemetry", telemetry)],
    };
    let mut interval = tokio::time::interval(period);
    loop {
        interval.tick().await;
        for (name, database) in &pools {
            metrics::pools::pool(name, database.pool_usage());
        }
    }
}

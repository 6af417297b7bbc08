//! The connection pools of the databases.

use fleet_store::PoolUsage;
use metrics::gauge;

use crate::metrics::declare::declare;

declare! {
    gauge POOL_IN_USE = "fleet_consumer_pool_in_use_connections", "Database connections in use";
    gauge POOL_OPEN = "fleet_consumer_pool_open_connections", "Database connections open, idle ones included";
    gauge POOL_MAX = "fleet_consumer_pool_max_connections", "Database connections the pool may open";
    gauge POOL_WAITING = "fleet_consumer_pool_waiting_tasks", "Tasks that wait for a database connection";
}

/// Shows how busy a pool is.
pub(crate) fn pool(pool: &'static str, usage: PoolUsage) {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!(POOL_IN_USE, "pool" => pool).set(float(usage.in_use));
    gauge!(POOL_OPEN, "pool" => pool).set(float(usage.open));
    gauge!(POOL_MAX, "pool" => pool).set(float(usage.max));
    gauge!(POOL_WAITING, "pool" => pool).set(float(usage.waiting));
}

//! Stable identities: the same vehicle and the same event get the same id in every process and database.

use uuid::Uuid;

/// Namespace of [`vehicle_id`]; never change it.
const VEHICLES: Uuid = Uuid::from_u128(0x6f1d_2c0a_5b1e_4f0e_9d55_6c6f_d7a1_5e21);

/// UUIDv5 over `slug:provider_vehicle_id` (trimmed, case kept, never the queue's shard), so that no process has
/// to ask a database which vehicle is meant.
pub fn vehicle_id(slug: &str, provider_vehicle_id: &str) -> Uuid {
    Uuid::new_v5(&VEHICLES, format!("{slug}:{}", provider_vehicle_id.trim()).as_bytes())
}

//! Stable ids: a vehicle or an event has the same id in every process and database.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Namespace of [`vehicle_id`]; never change it.
const VEHICLES: Uuid = Uuid::from_u128(0x6f1d_2c0a_5b1e_4f0e_9d55_6c6f_d7a1_5e21);
/// Namespace of [`event_id`]; never change it.
const EVENTS: Uuid = Uuid::from_u128(0x2b8e_91f4_0c37_4d6a_8a1e_53d0_7be9_c402);

/// UUIDv5 of `slug:provider_vehicle_id` (trimmed, with its case, without the queue's shard). No process has to look up the
/// vehicle in a database.
pub fn vehicle_id(slug: &str, provider_vehicle_id: &str) -> Uuid {
    Uuid::new_v5(&VEHICLES, format!("{slug}:{}", provider_vehicle_id.trim()).as_bytes())
}

/// Distinguishes events of the same vehicle, kind and time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// The provider's id of the event.
    Id(&'a str),
    /// Its raw text.
    Raw(&'a str),
}

/// UUIDv5 of the vehicle, the kind, the time exactly as the provider wrote it, and the content.
///
/// A redelivered message therefore always finds the row that it wrote before. The same holds for a provider's retry with a
/// usable time. Without one the id is the same, but the time of observation, which is also a part of the row's key, is the
/// time of the second receipt. The retry is then a second row.
pub(crate) fn event_id(vehicle_id: Uuid, kind: &str, written_time: &str, content: Content<'_>) -> Uuid {
    let mut name = Vec::with_capacity(160);
    name.extend_from_slice(vehicle_id.as_bytes());
    for part in [kind, written_time] {
        // Each part follows its length, so that different parts never give the same bytes.
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    match content {
        Content::Id(id) => {
            name.push(b'i');
            name.extend_from_slice(id.as_bytes());
        }
        // Hash the text with SHA-256 first, for which processors have instructions. The SHA-1 in UUIDv5 does not use any.
        Content::Raw(raw) => {
            name.push(b'r');
            name.extend_from_slice(&Sha256::digest(raw));
        }
    }
    Uuid::new_v5(&EVENTS, &name)
}

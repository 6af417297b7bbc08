//! Stable identities: the same vehicle and the same event get the same id in every process and database.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Namespace of [`vehicle_id`]; never change it.
const VEHICLES: Uuid = Uuid::from_u128(0x6f1d_2c0a_5b1e_4f0e_9d55_6c6f_d7a1_5e21);
/// Namespace of [`event_id`]; never change it.
const EVENTS: Uuid = Uuid::from_u128(0x2b8e_91f4_0c37_4d6a_8a1e_53d0_7be9_c402);

/// UUIDv5 over `slug:provider_vehicle_id` (trimmed, case kept, never the queue's shard), so that no process has
/// to ask a database which vehicle is meant.
pub fn vehicle_id(slug: &str, provider_vehicle_id: &str) -> Uuid {
    Uuid::new_v5(&VEHICLES, format!("{slug}:{}", provider_vehicle_id.trim()).as_bytes())
}

/// What tells an event from another of the same vehicle, kind and time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// The provider's own id of it.
    Id(&'a str),
    /// Its raw text.
    Raw(&'a str),
}

/// UUIDv5 over the vehicle, the kind, the time exactly as the provider wrote it, and the content.
///
/// A redelivered message therefore always meets the row it wrote before. So does a provider's resend, if it
/// carries a usable time: without one the id is the same, but the row's other key, the time of observation, is
/// that of the second reception, and the resend is a row of its own.
pub(crate) fn event_id(vehicle_id: Uuid, kind: &str, written_time: &str, content: Content<'_>) -> Uuid {
    let mut name = Vec::with_capacity(160);
    name.extend_from_slice(vehicle_id.as_bytes());
    for part in [kind, written_time] {
        // Lengths in front, so that no two triples run into the same bytes.
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    match content {
        Content::Id(id) => {
            name.push(b'i');
            name.extend_from_slice(id.as_bytes());
        }
        // Its digest stands for the text: processors have instructions for SHA-256, and none is used for the
        // SHA-1 inside UUIDv5.
        Content::Raw(raw) => {
            name.push(b'r');
            name.extend_from_slice(&Sha256::digest(raw));
        }
    }
    Uuid::new_v5(&EVENTS, &name)
}

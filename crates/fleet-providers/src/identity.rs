//! Stable ids: a vehicle or an event has the same id in every process and database.

use sha1::{Digest, Sha1};
use sha2::Sha256;
use uuid::{Builder, Uuid};

/// Namespace of [`vehicle_id`]; never change it.
const VEHICLES: Uuid = Uuid::from_u128(0x6f1d_2c0a_5b1e_4f0e_9d55_6c6f_d7a1_5e21);
/// Namespace of [`event_id`]; never change it.
const EVENTS: Uuid = Uuid::from_u128(0x2b8e_91f4_0c37_4d6a_8a1e_53d0_7be9_c402);

/// UUIDv5 of `slug:provider_vehicle_id` (trimmed, with its case, without the queue's shard). No process has to look up the
/// vehicle in a database.
pub fn vehicle_id(slug: &str, provider_vehicle_id: &str) -> Uuid {
    uuid_v5(VEHICLES, &[slug.as_bytes(), b":", provider_vehicle_id.trim().as_bytes()])
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
    // Each part follows its length, so that different parts never give the same bytes.
    let length = |part: &str| (part.len() as u64).to_be_bytes();
    let hashed;
    let (mark, content): (&[u8], &[u8]) = match content {
        Content::Id(id) => (b"i", id.as_bytes()),
        Content::Raw(raw) => {
            hashed = Sha256::digest(raw);
            (b"r", &hashed)
        }
    };
    let (kind_length, time_length) = (length(kind), length(written_time));
    let name: [&[u8]; 7] = [
        vehicle_id.as_bytes(),
        &kind_length,
        kind.as_bytes(),
        &time_length,
        written_time.as_bytes(),
        mark,
        content,
    ];
    uuid_v5(EVENTS, &name)
}

/// As [`Uuid::new_v5`] of the parts together. That one does not use the processor's instructions for SHA-1.
fn uuid_v5(namespace: Uuid, name: &[&[u8]]) -> Uuid {
    let mut hash = Sha1::new_with_prefix(namespace.as_bytes());
    for part in name {
        hash.update(part);
    }
    let [bytes @ .., _, _, _, _]: [u8; 20] = hash.finalize().into();
    Builder::from_sha1_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_standard() {
        assert_eq!(vehicle_id("niu", " A1 "), Uuid::new_v5(&VEHICLES, b"niu:A1"));
        assert_eq!(uuid_v5(EVENTS, &[b"a", b"", b"bc"]), Uuid::new_v5(&EVENTS, b"abc"));
    }
}

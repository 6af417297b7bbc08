//! A vehicle in memory, with its JSON once a list has shown it. The JSON is the same until the vehicle changes, apart from the age of
//! the position. Writing it again would take most of the time of a list.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fleet_store::FoundVehicle;
use jiff::Timestamp;
use serde::Serialize;

use crate::vehicle::{VehicleView, millimetres, seconds_between};

/// Most bytes of JSON in memory, of all vehicles. The JSON of a vehicle has about 1 KB. Above that it is written anew each time.
const MAX_BYTES: usize = 48 * 1024 * 1024;

/// The bytes of JSON in memory.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// The member that differs from time to time, as it is written without a time.
const NO_AGE: &[u8] = b"\"position_age_s\":null";

const NULL: &[u8] = b"null";

/// A vehicle.
#[derive(Debug)]
pub(crate) struct Entry {
    found: FoundVehicle,
    json: Mutex<Option<Json>>,
}

impl Deref for Entry {
    type Target = FoundVehicle;

    fn deref(&self) -> &FoundVehicle {
        &self.found
    }
}

impl Entry {
    pub(crate) fn new(found: FoundVehicle) -> Self {
        Self { found, json: Mutex::new(None) }
    }

    /// Appends the vehicle at `now` as JSON, with the distance if it has one.
    pub(crate) fn write_json(&self, distance_m: Option<f64>, now: Timestamp, text: &mut Vec<u8>) {
        let mut kept = self.json.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(json) = &*kept {
            json.write(self.age_s(now), distance_m, text);
        } else if let Some(json) = Json::new(&self.found) {
            json.write(self.age_s(now), distance_m, text);
            *kept = Some(json).filter(|_json| BYTES.load(Ordering::Relaxed) <= MAX_BYTES);
        } else {
            append(&VehicleView::new(&self.found, now).with_distance(distance_m), text);
        }
    }

    /// Forgets the JSON of a vehicle that has changed. Streams may need its state for a while.
    pub(crate) fn forget_json(&self) {
        *self.json.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn age_s(&self, now: Timestamp) -> Option<f64> {
        let position = self.found.vehicle.attributes.position?;
        Some(seconds_between(position.at.into(), now))
    }
}

/// A vehicle without age and distance.
#[derive(Debug)]
struct Json {
    text: Box<[u8]>,
    /// Where the age is null.
    age_at: usize,
}

impl Json {
    /// `None` if the age has no place in it.
    fn new(found: &FoundVehicle) -> Option<Self> {
        let mut text = Vec::with_capacity(1500);
        append(&VehicleView::new(found, Timestamp::UNIX_EPOCH).without_age(), &mut text);
        // Quotation marks within values are escaped, so that this is the member's name.
        let member_at = text.windows(NO_AGE.len()).position(|window| window == NO_AGE)?;
        // A copy of the right size. The allocator would only mark the rest of a larger block as unused.
        let text = Box::<[u8]>::from(text.as_slice());
        BYTES.fetch_add(text.len(), Ordering::Relaxed);
        Some(Self { text, age_at: member_at + NO_AGE.len() - NULL.len() })
    }

    fn write(&self, age_s: Option<f64>, distance_m: Option<f64>, text: &mut Vec<u8>) {
        let (before, after) = self.text.split_at(self.age_at);
        text.extend_from_slice(before);
        append(&age_s, text);
        let end = after.len().saturating_sub(1);
        text.extend_from_slice(after.get(NULL.len()..end).unwrap_or_default());
        if let Some(metres) = distance_m {
            text.extend_from_slice(b",\"distance_m\":");
            append(&millimetres(metres), text);
        }
        text.push(b'}');
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// Writing plain data into memory cannot fail.
fn append(value: &impl Serialize, text: &mut Vec<u8>) {
    let _written = serde_json::to_writer(text, value);
}

#[cfg(test)]
mod tests {
    use fleet_providers::{Attributes, Micros, Position, Timed};
    use fleet_store::StoredVehicle;
    use uuid::Uuid;

    use super::*;

    fn vehicle(id: &str, lat: Option<f64>) -> FoundVehicle {
        let at = Micros::from(Timestamp::from_millisecond(1_718_000_000_123).unwrap());
        let position =
            |lat| Position { lat, lon: 13.405, altitude_m: None, heading_deg: None, accuracy_m: None };
        let position = lat.map(|lat| Timed { value: position(lat), at, received_at: at });
        let seen_at = Timestamp::from_second(1_718_000_001).unwrap();
        FoundVehicle {
            provider: "niu".to_owned(),
            vehicle: StoredVehicle {
                vehicle_id: Uuid::from_u128(7),
                provider_vehicle_id: id.to_owned(),
                attributes: Attributes { position, ..Attributes::default() },
                first_seen_at: seen_at,
                last_seen_at: seen_at,
                clock_skewed_at: None,
            },
        }
    }

    #[test]
    fn the_json_is_that_of_the_view_at_every_time() {
        for (id, lat) in [("DEMO-1", Some(52.52)), ("DEMO-2", None), ("\"position_age_s\":null", Some(1.0))] {
            let entry = Entry::new(vehicle(id, lat));
            for (seconds, distance_m) in [(1, None), (2, Some(61.234_56)), (100_000, Some(0.0)), (3, None)] {
                let now = Timestamp::from_second(1_718_000_000 + seconds).unwrap();
                let mut text = Vec::new();
                entry.write_json(distance_m, now, &mut text);
                let view = VehicleView::new(&entry, now).with_distance(distance_m);
                let expected = serde_json::to_string(&view).unwrap();
                assert_eq!(String::from_utf8(text).unwrap(), expected);
            }
            assert!(entry.json.lock().unwrap().is_some(), "it is kept");
            entry.forget_json();
            assert!(entry.json.lock().unwrap().is_none());
        }
    }
}

//! A vehicle as clients see it.

use std::fmt::Write;

use fleet_providers::{Micros, Timed};
use fleet_store::FoundVehicle;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A vehicle counts as one with a wrong clock for this long after an event with an impossible time.
const SKEWED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The current state of a vehicle. Each attribute has the time at which it was observed. A null means that the vehicle has never
/// reported the attribute. All times are UTC.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Vehicle)]
pub(crate) struct VehicleView<'a> {
    /// The same in every database of the system.
    vehicle_id: Uuid,
    /// The provider's slug: niu, segway or invers.
    provider: &'a str,
    /// The provider's own id.
    provider_vehicle_id: &'a str,
    /// Degrees, as the provider sends it.
    lat: Option<f64>,
    /// Degrees, as the provider sends it.
    lon: Option<f64>,
    /// Metres.
    altitude_m: Option<f64>,
    /// Degrees clockwise from north.
    heading_deg: Option<f64>,
    /// Radius of uncertainty, metres.
    accuracy_m: Option<f64>,
    /// When the position was fixed.
    position_at: Option<Timestamp>,
    /// Seconds from `position_at` to this response.
    position_age_s: Option<f64>,
    /// When the position was received.
    received_at: Option<Timestamp>,
    /// Kilometres an hour.
    speed_kmh: Option<f64>,
    /// When the speed was observed.
    speed_at: Option<Timestamp>,
    /// Charge of the traction battery, or fuel level, 0 to 100.
    battery_percent: Option<f64>,
    /// When the charge was observed.
    battery_at: Option<Timestamp>,
    /// Remaining range, metres.
    range_m: Option<i32>,
    /// When the range was observed.
    range_at: Option<Timestamp>,
    /// Total distance, metres.
    odometer_m: Option<i32>,
    /// When the distance was observed.
    odometer_at: Option<Timestamp>,
    /// The electronics or the ignition are on.
    powered_on: Option<bool>,
    /// When `powered_on` was observed.
    powered_on_at: Option<Timestamp>,
    /// The vehicle is locked.
    locked: Option<bool>,
    /// When `locked` was observed.
    locked_at: Option<Timestamp>,
    /// The traction battery is charging.
    charging: Option<bool>,
    /// When `charging` was observed.
    charging_at: Option<Timestamp>,
    /// The vehicle has a connection to its provider.
    online: Option<bool>,
    /// When `online` was observed.
    online_at: Option<Timestamp>,
    /// The immobiliser lets the vehicle be driven.
    driving_enabled: Option<bool>,
    /// When `driving_enabled` was observed.
    driving_enabled_at: Option<Timestamp>,
    /// When the first webhook about the vehicle was received.
    first_seen_at: Timestamp,
    /// When the last webhook about the vehicle was received.
    last_seen_at: Timestamp,
    /// An event with an impossible or unreadable time was received within the 24 hours before `last_seen_at`.
    clock_skewed: bool,
    /// Metres from the point in `near`, on a sphere. Only in responses to `near`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    distance_m: Option<f64>,
}

impl<'a> VehicleView<'a> {
    /// The vehicle at `now`.
    pub(crate) fn new(found: &'a FoundVehicle, now: Timestamp) -> Self {
        let vehicle = &found.vehicle;
        let of = &vehicle.attributes;
        let position = of.position.map(|position| position.value);
        let position_at = at(of.position);
        Self {
            vehicle_id: vehicle.vehicle_id,
            provider: &found.provider,
            provider_vehicle_id: &vehicle.provider_vehicle_id,
            lat: position.map(|position| position.lat),
            lon: position.map(|position| position.lon),
            altitude_m: position.and_then(|position| position.altitude_m),
            heading_deg: position.and_then(|position| position.heading_deg),
            accuracy_m: position.and_then(|position| position.accuracy_m),
            position_at,
            position_age_s: position_at.map(|at| seconds_between(at, now)),
            received_at: received_at(of.position),
            speed_kmh: value(of.speed_kmh),
            speed_at: at(of.speed_kmh),
            battery_percent: value(of.battery_percent),
            battery_at: at(of.battery_percent),
            range_m: value(of.range_m),
            range_at: at(of.range_m),
            odometer_m: value(of.odometer_m),
            odometer_at: at(of.odometer_m),
            powered_on: value(of.powered_on),
            powered_on_at: at(of.powered_on),
            locked: value(of.locked),
            locked_at: at(of.locked),
            charging: value(of.charging),
            charging_at: at(of.charging),
            online: value(of.online),
            online_at: at(of.online),
            driving_enabled: value(of.driving_enabled),
            driving_enabled_at: at(of.driving_enabled),
            first_seen_at: vehicle.first_seen_at,
            last_seen_at: vehicle.last_seen_at,
            clock_skewed: is_clock_skewed(vehicle.clock_skewed_at, vehicle.last_seen_at),
            distance_m: None,
        }
    }

    /// The same, with its distance.
    pub(crate) fn with_distance(self, distance_m: Option<f64>) -> Self {
        Self { distance_m: distance_m.map(millimetres), ..self }
    }

    /// The same without the age of the position.
    pub(crate) fn without_age(self) -> Self {
        Self { position_age_s: None, ..self }
    }

    /// Longitude and latitude.
    pub(crate) fn coordinates(&self) -> Option<[f64; 2]> {
        Some([self.lon?, self.lat?])
    }

    /// A weak entity tag: the same as long as the state is the same. `position_age_s` and the knowledge's age differ.
    pub(crate) fn entity_tag(&self) -> String {
        let mut hash = Fnv::default();
        // Writing into a number cannot fail.
        let _written = write!(hash, "{:?}", Self { position_age_s: None, distance_m: None, ..*self });
        format!("W/\"{:016x}\"", hash.0)
    }
}

/// A distance in metres, rounded to millimetres, which is more than any position is good for.
pub(crate) fn millimetres(metres: f64) -> f64 {
    (metres * 1000.0).round() / 1000.0
}

fn value<T: Copy>(timed: Option<Timed<T>>) -> Option<T> {
    timed.map(|timed| timed.value)
}

fn at<T>(timed: Option<Timed<T>>) -> Option<Timestamp> {
    timed.map(|timed| timed.at.into())
}

/// Values that were stored before receipts were recorded have the earliest of all times.
fn received_at<T>(timed: Option<Timed<T>>) -> Option<Timestamp> {
    timed.map(|timed| timed.received_at).filter(|at| *at != Micros::MIN).map(Timestamp::from)
}

fn is_clock_skewed(skewed_at: Option<Timestamp>, last_seen_at: Timestamp) -> bool {
    skewed_at.is_some_and(|skewed_at| last_seen_at.duration_since(skewed_at) <= SKEWED_FOR)
}

/// Seconds from `from` to `to`, in milliseconds' precision.
pub(crate) fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    let milliseconds = to.duration_since(from).as_millis();
    i32::try_from(milliseconds).map_or_else(
        |_many| to.duration_since(from).as_secs_f64().round(),
        |milliseconds| f64::from(milliseconds) / 1000.0,
    )
}

/// The 64-bit hash FNV-1a. It must not differ between releases, because cursors and entity tags outlive a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

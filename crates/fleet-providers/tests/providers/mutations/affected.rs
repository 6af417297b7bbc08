//! Which member of a body affects which result. It follows the providers' formats, not the parsers.

use fleet_providers::{Attributes, ParseError, Timed, VehicleEvent};
use jiff::Timestamp;

/// The result that an edit of one member may change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affected {
    /// Which events there are, and everything in them.
    pub(super) structure: bool,
    /// The vehicle's id, or whether there is one.
    vehicle: bool,
    /// The event's time, and so all attributes without a time of their own.
    time: bool,
    /// The attributes in the order of [`listed`].
    attributes: [bool; 10],
}

impl Affected {
    pub(super) const NOTHING: Self =
        Self { structure: false, vehicle: false, time: false, attributes: [false; 10] };

    pub(super) fn or(self, other: Self) -> Self {
        let mut attributes = self.attributes;
        for (mine, theirs) in attributes.iter_mut().zip(other.attributes) {
            *mine |= theirs;
        }
        Self {
            structure: self.structure || other.structure,
            vehicle: self.vehicle || other.vehicle,
            time: self.time || other.time,
            attributes,
        }
    }

    fn word(word: &str) -> Self {
        let nothing = Self::NOTHING;
        match word {
            "structure" => Self { structure: true, ..nothing },
            "vehicle" => Self { vehicle: true, ..nothing },
            "time" => Self { time: true, ..nothing },
            attribute => {
                let place = ATTRIBUTES.iter().position(|name| *name == attribute);
                let mut attributes = nothing.attributes;
                attributes[place.unwrap_or_else(|| panic!("{attribute}?"))] = true;
                Self { attributes, ..nothing }
            }
        }
    }
}

const ATTRIBUTES: [&str; 10] = [
    "position",
    "speed",
    "battery",
    "range",
    "odometer",
    "powered_on",
    "locked",
    "charging",
    "online",
    "driving_enabled",
];

const NIU: &[(&str, &str)] = &[
    ("sn", "vehicle"),
    ("sn_id", "vehicle"),
    ("infoTimestamp", "time"),
    ("time", "time"),
    ("gpsTimestamp", "position"),
    ("postion", "position"),
    ("position", "position"),
    ("nowSpeed", "speed"),
    ("batteries", "battery"),
    ("estimatedMileage", "range"),
    ("totalMileage", "odometer"),
    ("isAccOn", "powered_on"),
    ("isFortificationOn", "locked"),
    ("isCharging", "charging"),
    ("ss_online_sta", "online"),
    ("isConnected", "online"),
];

const SEGWAY: &[(&str, &str)] = &[
    ("iotCode", "vehicle"),
    ("statusUtcTime", "time"),
    ("gpsUtcTime", "time position"),
    ("gpsUTCTime", "time position"),
    ("latitude", "position"),
    ("longitude", "position"),
    ("altitude", "position"),
    ("heading", "position"),
    ("accuracy", "position"),
    ("speed", "speed"),
    ("powerPercent", "battery"),
    ("remainingRange", "range"),
    ("remainderRange", "range"),
    ("odometer", "odometer"),
    ("locked", "locked"),
    ("charging", "charging"),
    ("online", "online"),
];

const INVERS: &[(&str, &str)] = &[
    ("vehicle_id", "vehicle"),
    ("id", "vehicle"),
    ("qnr", "vehicle"),
    ("device", "vehicle"),
    ("occurred_at", "time"),
    ("timestamp", "time"),
    // The type decides whether the state is read.
    ("type", "structure"),
    ("message_type", "structure"),
    ("position", "position"),
    ("altitude_in_meters", "position"),
    ("state_of_charge_or_fuel_level_in_percent", "battery"),
    ("fuel_level_in_percent", "battery"),
    ("fuel_level", "battery"),
    ("remaining_range_in_kilometers", "range"),
    ("mileage_in_kilometers", "odometer"),
    ("mileage", "odometer"),
    ("speed", "speed"),
    ("ignition", "powered_on"),
    ("central_lock", "locked"),
    ("electric_vehicle_state", "range charging"),
    ("life_status", "online"),
    ("driving_enabled", "driving_enabled"),
    ("immobilizer", "driving_enabled"),
];

/// Objects that only contain members with an effect, and other members next to events.
const AROUND: [&str; 9] =
    ["data", "desc", "trace", "metadata", "vehicle_state", "state", "event", "status", "vehicle"];

/// What the member with this path of names affects: that of the outermost name that does not only contain others.
pub(super) fn by_member(slug: &str, names: &[&str]) -> Affected {
    let table = match slug {
        "niu" => NIU,
        "segway" => SEGWAY,
        "invers" => INVERS,
        other => panic!("no table for {other}"),
    };
    let Some(name) = names.iter().find(|name| !AROUND.contains(name)) else {
        return Affected::word("structure");
    };
    let found = table.iter().find(|(member, _)| member == name);
    let words = found.map_or("", |(_, words)| words);
    words.split_whitespace().map(Affected::word).fold(Affected::NOTHING, Affected::or)
}

pub(super) type Outcome<'a> = Result<VehicleEvent<'a>, ParseError>;

/// Compares an event before and after an edit: only what may differ differs.
pub(super) fn assert_unaffected(pair: (&Outcome<'_>, &Outcome<'_>), allowed: Affected) {
    let (before, after) = match pair {
        (Ok(before), Ok(after)) => (before, after),
        (Err(before), Err(after)) if !allowed.vehicle => return assert_eq!(before, after),
        (Err(_), _) if allowed.vehicle => return,
        (_, Err(ParseError::TooOld)) if allowed.time => return,
        (_, Err(ParseError::MissingVehicleId | ParseError::Unparsable(_) | ParseError::InvalidCharacter))
            if allowed.vehicle =>
        {
            return;
        }
        (before, after) => panic!("{before:?} became {after:?}"),
    };
    assert_eq!(
        before.vehicle_id == after.vehicle_id,
        before.provider_vehicle_id == after.provider_vehicle_id
    );
    assert!(allowed.vehicle || before.vehicle_id == after.vehicle_id, "another vehicle");
    assert!(allowed.time || before.observed_at == after.observed_at, "another time");
    let (old, new) = (listed(&before.attributes), listed(&after.attributes));
    for (index, (old, new)) in
        old.iter().zip(new).enumerate().filter(|(index, _)| !allowed.attributes[*index])
    {
        let name = ATTRIBUTES[index];
        match (old, new) {
            (Some((old, at)), Some((new, new_at))) => {
                assert_eq!(*old, new, "{name}");
                assert!(allowed.time || *at == new_at, "the time of {name}");
            }
            (old, new) => assert_eq!(*old, new, "{name}"),
        }
    }
}

/// Every attribute's value and time, in the order of [`ATTRIBUTES`].
fn listed(attributes: &Attributes) -> [Option<(String, Timestamp)>; 10] {
    fn shown<T: std::fmt::Debug>(timed: Option<Timed<T>>) -> Option<(String, Timestamp)> {
        timed.map(|timed| (format!("{:?}", timed.value), timed.at.into()))
    }
    [
        shown(attributes.position),
        shown(attributes.speed_kmh),
        shown(attributes.battery_percent),
        shown(attributes.range_m),
        shown(attributes.odometer_m),
        shown(attributes.powered_on),
        shown(attributes.locked),
        shown(attributes.charging),
        shown(attributes.online),
        shown(attributes.driving_enabled),
    ]
}

//! Segway-Ninebot kick-scooters, mopeds and bikes.
//!
//! Segway POSTs one form per event to a base URL plus a sub-path per message type. Every value is a decimal or
//! a `true`/`false` string, and an MD5 signs the form (see [`AuthScheme::SegwayMd5`]). Older platforms send all
//! types to one URL, with the position inside the status. Documentation:
//! <https://open.segwaydiscovery.com/documents/Guide> and the pages per model. The fields are known from
//! open-source receivers such as <https://github.com/ShaileshPrajapati-BTC/o-falcon-be>.
//!
//! Confidence: high for paths, names, encoding and signature, because two or three independent receivers agree;
//! high for `odometer` and `remainingRange` in units of 10 metres, because receivers multiply by ten; inferred
//! for `speed` in km/h, epochs in milliseconds, and a JSON body with the same names. The codes of faults, and
//! of alerts other than 1 to 4 and 6, are unknown. Alerts, faults and firmware messages are stored, but do not
//! change the state.

use std::borrow::Cow;

use crate::attributes::{Attribute, Attributes};
use crate::auth::AuthScheme;
use crate::drop_reason::DropReason;
use crate::error::ParseError;
use crate::fields::{Fields, Item, Value};
use crate::items::Items;
use crate::mapped_event::MappedEvent;
use crate::message::{Limits, Message};
use crate::provider::{Accepted, Provider};
use crate::reader::EventReader;
use crate::{form, json, quantity};

/// The provider. Known receivers respond with different bodies. Segway itself uses `{"code":0}`.
pub(crate) const SEGWAY: Provider = Provider {
    slug: "segway",
    name: "Segway-Ninebot",
    default_auth: || AuthScheme::SegwayMd5,
    accepted: Accepted { content_type: Some("application/json"), body: r#"{"code":0}"# },
    split,
    map,
};

/// The unit of `odometer` and `remainingRange`.
const METRES_PER_UNIT: f64 = 10.0;
/// The optional prefix of the sub-paths.
const PREFIX: &str = "vehicle/";
/// Members that only a status has.
const STATUS_FIELDS: [&str; 6] =
    ["online", "locked", "charging", "powerPercent", "odometer", "statusUtcTime"];

/// A form or a JSON object is one event.
fn split<'a>(message: &Message<'a>, limits: &Limits) -> Result<Items<'a>, ParseError> {
    if form::is_form(message.content_type, message.body) {
        form::items(message.body, limits)
    } else {
        json::items(message.body, limits)
    }
}

/// Maps one event.
fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> MappedEvent<'a> {
    let fields = &item.fields;
    let kind = kind(message.topic, fields);
    // The pull API spells it gpsUTCTime.
    let fixed_at = fields.find("gpsUtcTime").or_else(|| fields.find("gpsUTCTime"));
    let mut reader = EventReader::new(message, limits, [fields.find("statusUtcTime"), fixed_at]);
    let attributes = match kind.as_ref() {
        "alert" | "fault" | "firmware_upgrade_complete" => Attributes::default(),
        _ => attributes(fields, &mut reader, fixed_at),
    };
    let vehicle = fields.text("iotCode");
    MappedEvent {
        vehicle,
        kind: Some(kind),
        default_kind: "unknown",
        ..MappedEvent::new(item, reader, attributes)
    }
}

/// The state in a status, a location, or both in one.
fn attributes<'a>(
    fields: &Fields<'a>,
    reader: &mut EventReader<'a>,
    fixed_at: Option<&Value<'a>>,
) -> Attributes {
    let lat = fields.number("latitude", quantity::latitude);
    let position = reader.position(fields, lat, fields.number("longitude", quantity::longitude));
    // An early receiver reads remainderRange.
    let range = fields.number("remainingRange", metres).or(|| fields.number("remainderRange", metres));
    let speed = fields.number("speed", quantity::speed_kmh);
    let battery = fields.number("powerPercent", quantity::percent);
    Attributes {
        position: reader.timed(Attribute::Position, position, fixed_at),
        speed_kmh: reader.timed(Attribute::Speed, speed, None),
        battery_percent: reader.timed(Attribute::Battery, battery, None),
        range_m: reader.timed(Attribute::Range, range, None),
        odometer_m: reader.timed(Attribute::Odometer, fields.number("odometer", metres), None),
        locked: reader.timed(Attribute::Locked, fields.flag("locked"), None),
        charging: reader.timed(Attribute::Charging, fields.flag("charging"), None),
        online: reader.timed(Attribute::Online, fields.flag("online"), None),
        ..Attributes::default()
    }
}

/// Whole metres of a distance in Segway's unit.
fn metres(value: f64) -> Result<i32, DropReason> {
    quantity::metres(value * METRES_PER_UNIT)
}

/// The message type. Only the sub-path gives it, or the fields on the single URL of older platforms.
fn kind(topic: &str, fields: &Fields<'_>) -> Cow<'static, str> {
    let topic = topic.trim_matches('/').to_ascii_lowercase();
    match topic.strip_prefix(PREFIX).unwrap_or(&topic) {
        "status" => Cow::Borrowed("status"),
        "location" => Cow::Borrowed("location"),
        "alert" => Cow::Borrowed("alert"),
        "fault" => Cow::Borrowed("fault"),
        "firmware/upgrade/complete" => Cow::Borrowed("firmware_upgrade_complete"),
        "" if STATUS_FIELDS.iter().any(|name| fields.find(name).is_some()) => Cow::Borrowed("status"),
        "" if fields.find("latitude").is_some() => Cow::Borrowed("location"),
        // An alert and a fault have the same fields.
        "" => Cow::Borrowed("unknown"),
        other => Cow::Owned(other.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")),
    }
}

//! NIU e-mopeds.
//!
//! NIU publishes no push. What is mapped here is an assumption, built on the field names of the app's
//! `motor_data/index_info`, which others have described:
//! <https://github.com/BlueAndi/niu-cloud-connector/blob/main/doc/API.md>,
//! <https://github.com/cascha42/niu-info>, <https://github.com/bonnee/niu-app-api> and
//! <https://github.com/NeariX67/home-assistant-niu-component>. One report is an object, a backlog an array, either
//! of them bare or as `data` of NIU's usual `{data, desc, trace, status}`.
//!
//! Confidence: names, types and units of the fields, high (seen by several projects); that a push uses them, low.
//! The names in `type` are ours, so that every type is read for the fields it carries. Coordinates are stored as
//! sent: WGS-84, but GCJ-02 from the mainland-China servers.

use crate::fields::{Fields, Item, Items, Value};
use crate::report::Report;
use crate::time::Clock;
use crate::{
    Accepted, Attributes, AuthScheme, Limits, Message, ParseError, Position, Provider, json, quantity,
};

/// The provider. Its authentication is an assumption: `token` is what NIU names such a header elsewhere.
pub(crate) const NIU: Provider = Provider {
    slug: "niu",
    name: "NIU",
    default_auth: || AuthScheme::Header(http::HeaderName::from_static("token")),
    accepted: Accepted { content_type: Some("application/json"), body: r#"{"status":0,"desc":"success"}"# },
    split,
    map,
};

/// The batteries a vehicle can have, by the name of their compartment.
const COMPARTMENTS: [&str; 3] = ["compartmentA", "compartmentB", "compartmentC"];

/// An event, an array of events, or either as `data` of an answer's envelope.
fn split<'a>(message: &Message<'a>, limits: &Limits) -> Result<Items<'a>, ParseError> {
    let items = json::items(message.body, limits)?;
    if let [Ok(Item { fields, .. })] = items.as_slice()
        && vehicle(fields).is_none()
        && let Some(Value::Json(data)) = fields.find("data")
        && data.starts_with(['{', '['])
    {
        return json::split(data, limits);
    }
    Ok(items)
}

/// Maps one report.
fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> Report<'a> {
    let fields = &item.fields;
    let mut clock = Clock::new(message, limits, [fields.find("infoTimestamp"), fields.find("time")]);
    let online = fields.flag("ss_online_sta").or_else(|| fields.flag("isConnected"));
    let attributes = Attributes {
        position: clock.timed(position(fields), fields.time("gpsTimestamp")),
        speed_kmh: clock.timed(fields.number("nowSpeed").and_then(quantity::speed_kmh), None),
        battery_percent: clock.timed(battery_percent(fields), None),
        range_m: clock.timed(fields.number("estimatedMileage").and_then(quantity::metres_from_km), None),
        odometer_m: clock.timed(fields.number("totalMileage").and_then(quantity::metres_from_km), None),
        powered_on: clock.timed(fields.flag("isAccOn"), None),
        locked: clock.timed(fields.flag("isFortificationOn"), None),
        charging: clock.timed(fields.flag("isCharging"), None),
        online: clock.timed(online, None),
    };
    let (vehicle, kind) = (vehicle(fields), fields.text("type"));
    Report { vehicle, kind, ..Report::new(item, clock, attributes) }
}

/// The serial number, named `sn` by older and `sn_id` by newer versions of the app's interface.
fn vehicle<'a>(fields: &Fields<'a>) -> Option<std::borrow::Cow<'a, str>> {
    fields.text("sn").or_else(|| fields.text("sn_id"))
}

/// `postion` is NIU's own spelling; the right one and `lon` have been seen too.
fn position(fields: &Fields<'_>) -> Option<Position> {
    let place = fields.object("postion").or_else(|| fields.object("position"))?;
    let lon = place.number("lng").or_else(|| place.number("lon"));
    quantity::position(&place, place.number("lat"), lon)
}

/// The mean charge of the connected batteries (`batteryCharging` is a charge, despite its name).
fn battery_percent(fields: &Fields<'_>) -> Option<f64> {
    let batteries = fields.object("batteries")?;
    let charges = COMPARTMENTS.iter().filter_map(|name| {
        let compartment = batteries.object(name)?;
        let connected = compartment.flag("isConnected").unwrap_or(true);
        compartment.number("batteryCharging").and_then(quantity::percent).filter(|_| connected)
    });
    let (sum, count) = charges.fold((0.0, 0.0), |(sum, count), charge| (sum + charge, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

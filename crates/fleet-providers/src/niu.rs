//! NIU e-mopeds.
//!
//! NIU does not document any push. This mapping is an assumption. It uses the field names of the app's
//! `motor_data/index_info`, as described by
//! <https://github.com/BlueAndi/niu-cloud-connector/blob/main/doc/API.md>,
//! <https://github.com/cascha42/niu-info>, <https://github.com/bonnee/niu-app-api> and
//! <https://github.com/NeariX67/home-assistant-niu-component>. One report is an object, a backlog is an array.
//! Either may stand alone or as `data` in NIU's usual envelope `{data, desc, trace, status}`.
//!
//! Confidence: high for names, types and units of the fields, because several projects have seen them; low for
//! their use in a push. The names in `type` are invented, so the fields of every type are read. Coordinates are
//! stored as sent: WGS-84, except GCJ-02 from the servers in mainland China.

use crate::attributes::{Attribute, Attributes};
use crate::auth::AuthScheme;
use crate::error::ParseError;
use crate::fields::{Fields, Item};
use crate::items::Items;
use crate::json::Wrapper;
use crate::mapped_event::MappedEvent;
use crate::message::{Limits, Message};
use crate::provider::{Accepted, Provider};
use crate::reader::EventReader;
use crate::reading::Reading;
use crate::value::Position;
use crate::{json, quantity};

/// The provider. Its authentication is an assumption: NIU uses a header `token` elsewhere.
pub(crate) const NIU: Provider = Provider {
    slug: "niu",
    name: "NIU",
    default_auth: || AuthScheme::Header(http::HeaderName::from_static("token")),
    accepted: Accepted { content_type: Some("application/json"), body: r#"{"status":0,"desc":"success"}"# },
    split,
    map,
};

/// The names of the battery compartments.
const COMPARTMENTS: [&str; 3] = ["compartmentA", "compartmentB", "compartmentC"];

/// NIU's envelope `{data, desc, trace, status}` around an event or an array of events.
const ANSWER: Wrapper = Wrapper { event_members: &["sn", "sn_id"], data_begins_with: b"{[" };

/// Splits an event, an array of events, or either as `data` of the envelope.
fn split<'a>(message: &Message<'a>, limits: &Limits) -> Result<Items<'a>, ParseError> {
    json::unwrapped_items(message.body, ANSWER, limits)
}

/// Maps one report.
fn map<'a>(item: Item<'a>, message: &Message<'_>, limits: &Limits) -> MappedEvent<'a> {
    let fields = &item.fields;
    let times = [fields.find("infoTimestamp"), fields.find("time")];
    let mut reader = EventReader::new(message, limits, times);
    let position = position(fields, &mut reader);
    let battery = battery_percent(fields, &mut reader);
    let online = fields.flag("ss_online_sta").or(|| fields.flag("isConnected"));
    let speed = fields.number("nowSpeed", quantity::speed_kmh);
    let range = fields.number("estimatedMileage", quantity::metres_from_km);
    let odometer = fields.number("totalMileage", quantity::metres_from_km);
    let attributes = Attributes {
        position: reader.timed(Attribute::Position, position, fields.find("gpsTimestamp")),
        speed_kmh: reader.timed(Attribute::Speed, speed, None),
        battery_percent: reader.timed(Attribute::Battery, battery, None),
        range_m: reader.timed(Attribute::Range, range, None),
        odometer_m: reader.timed(Attribute::Odometer, odometer, None),
        powered_on: reader.timed(Attribute::PoweredOn, fields.flag("isAccOn"), None),
        locked: reader.timed(Attribute::Locked, fields.flag("isFortificationOn"), None),
        charging: reader.timed(Attribute::Charging, fields.flag("isCharging"), None),
        online: reader.timed(Attribute::Online, online, None),
        ..Attributes::default()
    };
    // Older versions of the app's API name the serial number `sn`, newer ones `sn_id`.
    let (vehicle, kind) = (fields.text("sn").or_else(|| fields.text("sn_id")), fields.text("type"));
    MappedEvent { vehicle, kind, ..MappedEvent::new(item, reader, attributes) }
}

/// `postion` is NIU's spelling. `position` and `lon` have been seen as well.
fn position<'a>(fields: &Fields<'a>, reader: &mut EventReader<'a>) -> Reading<'a, Position> {
    fields.object("postion").or(|| fields.object("position")).then(|place| {
        let lat = place.number("lat", quantity::latitude);
        let lon = place.number("lng", quantity::longitude).or(|| place.number("lon", quantity::longitude));
        reader.place(&place, lat, lon)
    })
}

/// The mean charge of the connected batteries. Despite its name, `batteryCharging` is a charge in percent.
fn battery_percent<'a>(fields: &Fields<'a>, reader: &mut EventReader<'a>) -> Reading<'a, f64> {
    fields.object("batteries").then(|batteries| {
        let (mut sum, mut count) = (0.0, 0.0);
        for name in COMPARTMENTS {
            let compartment = batteries.object(name);
            let Some(compartment) = reader.value(Attribute::Battery, compartment) else { continue };
            let connected = reader.value(Attribute::Battery, compartment.flag("isConnected")).unwrap_or(true);
            let charge = compartment.number("batteryCharging", quantity::percent);
            if connected && let Some(charge) = reader.value(Attribute::Battery, charge) {
                (sum, count) = (sum + charge, count + 1.0);
            }
        }
        if count > 0.0 { Reading::Known(sum / count) } else { Reading::Absent }
    })
}

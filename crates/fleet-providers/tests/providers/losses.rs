//! A value that is present and not used is reported. A value that means "nothing" is not.

use fleet_providers::{Attribute, DropReason, VehicleEvent};

use crate::support::{form, json, only};

fn losses(event: &VehicleEvent<'_>) -> Vec<(Attribute, DropReason, String)> {
    event.dropped.iter().map(|loss| (loss.attribute, loss.reason, loss.written.to_string())).collect()
}

fn niu(members: &str) -> Vec<(Attribute, DropReason, String)> {
    losses(&only(json("niu", &format!(r#"{{"sn":"A",{members}}}"#))))
}

fn invers(state: &str) -> Vec<(Attribute, DropReason, String)> {
    let body = format!(r#"{{"metadata":{{}},"data":{{"vehicle_id":"A",{state}}}}}"#);
    losses(&only(json("invers", &body)))
}

fn one(attribute: Attribute, reason: DropReason, written: &str) -> Vec<(Attribute, DropReason, String)> {
    vec![(attribute, reason, written.to_owned())]
}

#[test]
fn what_says_nothing_is_no_loss() {
    for nothing in ["null", "\"\"", "\"  \""] {
        for name in [
            "nowSpeed",
            "estimatedMileage",
            "totalMileage",
            "isAccOn",
            "isFortificationOn",
            "isCharging",
            "ss_online_sta",
            "isConnected",
            "batteries",
            "postion",
            "infoTimestamp",
            "time",
            "gpsTimestamp",
        ] {
            assert_eq!(niu(&format!(r#""{name}":{nothing}"#)), [], "{name}: {nothing}");
        }
    }
    assert_eq!(niu(r#""postion":{},"batteries":{}"#), []);
    assert_eq!(losses(&only(form("iotCode=1&speed=&latitude=&longitude=&locked=+"))), []);
    assert_eq!(invers(r#""ignition":{"value":null},"position":{"timestamp":"x"},"central_lock":{}"#), []);
}

#[test]
fn a_changed_notation_is_a_loss() {
    use Attribute::{Battery, Charging, Locked, Odometer, Online, Position, PoweredOn, Range, Speed};
    let unknown = DropReason::NotUnderstood;
    assert_eq!(niu(r#""nowSpeed":"7,5""#), one(Speed, unknown, "7,5"));
    assert_eq!(niu(r#""nowSpeed":true"#), one(Speed, unknown, "true"));
    assert_eq!(niu(r#""nowSpeed":[7]"#), one(Speed, unknown, "[7]"));
    assert_eq!(niu(r#""estimatedMileage":"39 km""#), one(Range, unknown, "39 km"));
    assert_eq!(niu(r#""totalMileage":{}"#), one(Odometer, unknown, "{}"));
    assert_eq!(niu(r#""isAccOn":"on""#), one(PoweredOn, unknown, "on"));
    assert_eq!(niu(r#""isFortificationOn":2"#), one(Locked, unknown, "2"));
    assert_eq!(niu(r#""isCharging":"yes""#), one(Charging, unknown, "yes"));
    assert_eq!(niu(r#""isConnected":"up""#), one(Online, unknown, "up"));
    assert_eq!(niu(r#""postion":"52.5,13.4""#), one(Position, unknown, "52.5,13.4"));
    assert_eq!(niu(r#""postion":{"lat":52.5}"#), one(Position, unknown, "one coordinate alone"));
    assert_eq!(
        niu(r#""batteries":{"compartmentA":{"batteryCharging":"full"}}"#),
        one(Battery, unknown, "full")
    );
    assert_eq!(invers(r#""ignition":"STANDBY""#), one(PoweredOn, unknown, "STANDBY"));
    assert_eq!(invers(r#""central_lock":{"value":"DEADLOCKED"}"#), one(Locked, unknown, "DEADLOCKED"));
    let comma = only(form("iotCode=1&latitude=52%2C520008&longitude=13%2C404954"));
    assert_eq!(losses(&comma), one(Position, unknown, "52,520008"));
}

#[test]
fn another_shape_is_a_loss() {
    use Attribute::{Battery, Locked, Position, Raw};
    let unknown = DropReason::NotUnderstood;
    let moved = r#"{"timestamp":"2024-06-10T06:13:20Z","state":"LOCKED"}"#;
    assert_eq!(invers(&format!(r#""central_lock":{moved}"#)), one(Locked, unknown, moved));
    assert_eq!(invers(r#""vehicle_state":[]"#), one(Raw, unknown, "[]"));
    assert_eq!(
        niu(r#""postion":{"latitude":52.5,"longitude":13.4}"#),
        one(Position, unknown, "no coordinates")
    );
    let connected = r#""batteries":{"compartmentA":{"isConnected":"no","batteryCharging":68}}"#;
    assert_eq!(niu(connected), one(Battery, unknown, "no"));
    // A bare position counts as a position without a time.
    let bare = r#"{"metadata":{},"data":{"vehicle_id":"A","position":{"lat":52.5,"lon":13.4}}}"#;
    assert_eq!(only(json("invers", bare)).attributes.position.map(|fix| fix.value.lat), Some(52.5));
}

#[test]
fn the_impossible_is_a_loss() {
    use Attribute::{Accuracy, Battery, Heading, Position, Range, Speed};
    let impossible = DropReason::OutOfRange;
    assert_eq!(niu(r#""nowSpeed":401"#), one(Speed, impossible, "401"));
    assert_eq!(niu(r#""nowSpeed":1e999"#), one(Speed, impossible, "1e999"));
    assert_eq!(niu(r#""estimatedMileage":-1"#), one(Range, impossible, "-1"));
    assert_eq!(niu(r#""postion":{"lat":91,"lng":13}"#), one(Position, impossible, "91"));
    assert_eq!(niu(r#""postion":{"lat":0,"lng":0.0}"#), one(Position, DropReason::NoFix, "0/0"));
    let batteries =
        r#""batteries":{"compartmentA":{"batteryCharging":680},"compartmentB":{"batteryCharging":68}}"#;
    assert_eq!(niu(batteries), one(Battery, impossible, "680"));
    let place = only(form("iotCode=1&latitude=1&longitude=2&heading=361&accuracy=-1"));
    let expected = [one(Heading, impossible, "361"), one(Accuracy, impossible, "-1")].concat();
    assert_eq!(losses(&place), expected);
    assert!(place.attributes.position.is_some());
}

#[test]
fn another_name_for_the_same_makes_up_for_a_loss() {
    assert_eq!(niu(r#""ss_online_sta":"up","isConnected":true"#), []);
    assert_eq!(niu(r#""postion":{"lat":52.5,"lng":"?","lon":13.4}"#), []);
    assert_eq!(losses(&only(form("iotCode=1&remainingRange=?&remainderRange=100"))), []);
    assert_eq!(niu(r#""ss_online_sta":"up""#).len(), 1);
}

#[test]
fn a_type_that_changes_no_state_loses_none() {
    let body = r#"{"metadata":{"type":"TripEnded"},"data":{"vehicle_id":"A","ignition":"?"}}"#;
    assert_eq!(losses(&only(json("invers", body))), []);
    let body = r#"{"metadata":{"type":"VehicleStateRecordedV2"},"data":{"vehicle_id":"A","ignition":"ON"}}"#;
    let expected = one(Attribute::Raw, DropReason::UnknownType, "VehicleStateRecordedV2");
    assert_eq!(losses(&only(json("invers", body))), expected);
}

#[test]
fn names_are_unique() {
    for (names, count) in [
        (Attribute::ALL.map(Attribute::name).to_vec(), Attribute::ALL.len()),
        (DropReason::ALL.map(DropReason::name).to_vec(), DropReason::ALL.len()),
    ] {
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), count, "{names:?}");
    }
}

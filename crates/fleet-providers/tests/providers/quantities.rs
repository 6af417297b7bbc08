//! Which quantities are possible, and which are ignored.

use fleet_providers::Position;

use crate::support::{form, only};

fn place(lat: f64, lon: f64) -> Position {
    Position { lat, lon, altitude_m: None, heading_deg: None, accuracy_m: None }
}

#[test]
fn ranges_are_inclusive_and_what_lies_outside_is_absent() {
    let read = |name: &str, value: &str| {
        let body = format!("iotCode=1&{name}={value}");
        let attributes = only(form(&body)).attributes;
        let number = attributes.speed_kmh.or(attributes.battery_percent).map(|timed| timed.value);
        number.or(attributes.odometer_m.or(attributes.range_m).map(|timed| f64::from(timed.value)))
    };
    for (name, value, expected) in [
        ("speed", "0", Some(0.0)),
        ("speed", "400", Some(400.0)),
        ("speed", "400.1", None),
        ("speed", "-1", None),
        ("powerPercent", "100", Some(100.0)),
        ("powerPercent", "100.5", None),
        ("powerPercent", "-1", None),
        ("powerPercent", "NaN", None),
        ("powerPercent", "", None),
        ("odometer", "0.04", Some(0.0)),
        ("odometer", "0.05", Some(1.0)),
        ("odometer", "-1", None),
        ("odometer", "214748364.7", Some(2_147_483_647.0)),
        ("odometer", "214748364.8", None),
        ("remainingRange", "inf", None),
        ("remainingRange", "12.34", Some(123.0)),
    ] {
        assert_eq!(read(name, value), expected, "{name}={value}");
    }
    let negative_zero = only(form("iotCode=1&speed=-0.0")).attributes.speed_kmh.unwrap();
    assert!(negative_zero.value.is_sign_positive());
}

#[test]
fn positions_must_be_possible() {
    let position = |rest: &str| {
        let body = format!("iotCode=1&{rest}");
        only(form(&body)).attributes.position.map(|position| position.value)
    };
    assert_eq!(position("latitude=-90&longitude=180"), Some(place(-90.0, 180.0)));
    assert_eq!(position("latitude=0&longitude=13"), Some(place(0.0, 13.0)));
    for impossible in [
        "latitude=90.1&longitude=1",
        "latitude=1&longitude=-180.1",
        "latitude=0&longitude=-0.0",
        "latitude=1",
        "longitude=1",
        "latitude=1&longitude=1e999",
    ] {
        assert_eq!(position(impossible), None, "{impossible}");
    }
    let full = position("latitude=1&longitude=-0.0&altitude=-5&heading=360&accuracy=0").unwrap();
    assert_eq!((full.altitude_m, full.heading_deg, full.accuracy_m), (Some(-5.0), Some(360.0), Some(0.0)));
    assert!(full.lon.is_sign_positive());
    let poor = position("latitude=1&longitude=2&altitude=nan&heading=361&accuracy=-1").unwrap();
    assert_eq!(poor, place(1.0, 2.0));
}

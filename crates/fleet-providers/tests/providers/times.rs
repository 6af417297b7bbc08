//! Times: how they are parsed, and which are plausible relative to the time of receipt.

use fleet_providers::{Attribute, DropReason, Limits, Message, ParseError};
use jiff::{SignedDuration, Timestamp};

use crate::support::{Fixture, at, form, json, only, received_at};

fn observed(time: &str) -> (Timestamp, bool) {
    let body = format!("{{\"sn\":\"A\",\"infoTimestamp\":{time}}}");
    let event = only(json("niu", &body));
    (event.observed_at, event.clock_skewed)
}

#[test]
fn epochs_of_every_unit_and_iso() {
    for (written, expected) in [
        ("1718000000", "06:13:20"),
        ("\"1718000000\"", "06:13:20"),
        ("1718000000.123456789", "06:13:20.123456"),
        ("1718000000123", "06:13:20.123"),
        ("1718000000123.4567", "06:13:20.123456"),
        ("1718000000123456", "06:13:20.123456"),
        ("1718000000123456.9", "06:13:20.123456"),
        ("1718000000123456789", "06:13:20.123456"),
        ("\" 1718000000123 \"", "06:13:20.123"),
        ("1.718e9", "06:13:20"),
        ("1.718e12", "06:13:20"),
        ("1.718e15", "06:13:20"),
        ("1.718e18", "06:13:20"),
        ("\"2024-06-10T06:13:20Z\"", "06:13:20"),
        ("\"2024-06-10T08:13:20.5+02:00\"", "06:13:20.5"),
        ("\"2024-06-10T06:13:20.123456789Z\"", "06:13:20.123456"),
        ("\"20240610T061320Z\"", "06:13:20"),
        ("\"2024-06-10 06:13:20\"", "06:13:20"),
        ("\"2024-06-10t06:13:20z\"", "06:13:20"),
        ("\"2024-06-10t08:13:20.25+02:00\"", "06:13:20.25"),
        ("\"2024-06-10 06:13:20 +0000\"", "06:13:20"),
        ("\"2024-06-10 08:13:20 +0200\"", "06:13:20"),
        ("\"2024-06-10 04:13:20 -02:00\"", "06:13:20"),
        ("\"2024-06-10 06:13:20 UTC\"", "06:13:20"),
        ("\"2024-06-10T06:13:20 gmt\"", "06:13:20"),
        ("\"2024-06-10 06:13:20 Z\"", "06:13:20"),
    ] {
        assert_eq!(observed(written), (at(expected), false), "{written}");
    }
}

#[test]
fn no_time_is_none() {
    let nothing = [
        "\"\"",
        "null",
        "0",
        "-1",
        "\"0\"",
        "\"-1\"",
        "0.0",
        "-0",
        "0e0",
        "\"0000-00-00 00:00:00\"",
        "\"0001-01-01T00:00:00Z\"",
        "-62135596800",
        "-62135596800000",
        "\"0000-00-00\"",
        "\"1970-01-01T00:00:00.000Z\"",
        "\"1970-01-01 00:00:00\"",
    ];
    for written in nothing {
        assert_eq!(observed(written), (received_at(), false), "{written}");
        let body = format!(
            r#"{{"sn":"A","infoTimestamp":{written},"time":1718000001000,"gpsTimestamp":{written},
                "postion":{{"lat":1,"lng":2}}}}"#
        );
        let event = only(json("niu", &body));
        assert_eq!((event.observed_at, event.clock_skewed), (at("06:13:21"), false), "{written}");
        assert_eq!(event.attributes.position.map(|fix| fix.at), Some(at("06:13:21").into()), "{written}");
        assert_eq!(event.dropped, [], "{written}");
    }
    assert_eq!(only(json("niu", "{\"sn\":\"A\"}")).observed_at, received_at());
    let segway = only(form("iotCode=1&latitude=52.5&longitude=13.4&gpsUtcTime=0"));
    assert_eq!(segway.attributes.position.map(|fix| fix.at), Some(received_at().into()));
}

#[test]
fn a_time_that_cannot_be_read_is_marked() {
    for written in [
        "\"x\"",
        "true",
        "{}",
        "\"inf\"",
        "1e999",
        "\"2024-06-10\"",
        "\"1718-\"",
        "\"06:13:20\"",
        "\"2024-13-01T00:00:00Z\"",
        "\"yesterday at 7 UTC\"",
    ] {
        let body = format!(
            r#"{{"sn":"A","infoTimestamp":{written},"gpsTimestamp":{written},"postion":{{"lat":1,"lng":2}}}}"#
        );
        let event = only(json("niu", &body));
        assert_eq!((event.observed_at, event.clock_skewed), (received_at(), true), "{written}");
        let losses: Vec<_> = event.dropped.iter().map(|loss| (loss.attribute, loss.reason)).collect();
        let reason = DropReason::TimeNotUnderstood;
        assert_eq!(losses, [(Attribute::ObservedAt, reason), (Attribute::Position, reason)], "{written}");
    }
}

#[test]
fn the_second_choice_of_time() {
    let niu = only(json("niu", r#"{"sn":"A","infoTimestamp":0,"time":1718000001000,"isAccOn":1}"#));
    assert_eq!(niu.observed_at, at("06:13:21"));
    assert_eq!(niu.attributes.powered_on.map(|on| on.at), Some(at("06:13:21").into()));
    let segway = only(form("iotCode=1&gpsUTCTime=1718000002000&latitude=1&longitude=1&locked=0"));
    assert_eq!(segway.observed_at, at("06:13:22"));
    assert_eq!(segway.attributes.locked.map(|locked| locked.at), Some(at("06:13:22").into()));
}

#[test]
fn the_future_begins_five_minutes_from_now() {
    assert_eq!(observed("\"2024-06-10T06:18:30Z\""), (at("06:18:30"), false));
    assert_eq!(observed("\"2024-06-10T06:18:30.000001Z\""), (received_at(), true));
    // A number below 10^11 counts as seconds. The largest lies in the year 5138.
    for far in ["99999999999", "9223372036854775807", "1e30", "100000000000000000000"] {
        assert_eq!(observed(far), (received_at(), true), "{far}");
    }
}

#[test]
fn every_time_in_an_event_is_judged() {
    for wrong in ["1999999999999", "946684800000", "1098720000", "\"?\""] {
        let body = format!(
            r#"{{"sn":"A","infoTimestamp":1718000000123,"gpsTimestamp":{wrong},
                "postion":{{"lat":1,"lng":2}},"isAccOn":1}}"#
        );
        let event = only(json("niu", &body));
        assert!(event.clock_skewed, "{wrong}");
        assert_eq!(event.observed_at, at("06:13:20.123"), "{wrong}");
        // The time of receipt must not be used here: an old report would win over a newer one.
        assert_eq!(event.attributes.position.unwrap().at, at("06:13:20.123").into(), "{wrong}");
        assert_eq!(event.attributes.powered_on.unwrap().at, at("06:13:20.123").into(), "{wrong}");
    }
}

#[test]
fn a_clock_without_a_date_is_marked_like_one_that_is_ahead() {
    let weeks_1024 = (received_at().as_second() - 1024 * 7 * 86_400).to_string();
    for ancient in [
        weeks_1024.as_str(),
        "946684800",
        "946684800000",
        "315964800",
        "86400",
        "-9223372036854775808",
        "-1e30",
        "99999999",
    ] {
        assert_eq!(observed(ancient), (received_at(), true), "{ancient}");
        let body = format!(r#"{{"sn":"A","infoTimestamp":{ancient},"time":1718000001000}}"#);
        let event = only(json("niu", &body));
        assert_eq!((event.observed_at, event.clock_skewed), (at("06:13:21"), true), "{ancient}");
    }
    // Two such reports are two events.
    let id = |time: &str| only(json("niu", &format!(r#"{{"sn":"A","infoTimestamp":{time}}}"#))).event_id;
    assert_ne!(id("946684800"), id("946684801"));
}

#[test]
fn too_old_is_the_events_time_alone() {
    let oldest = received_at() - Limits::default().max_age;
    let written = |micros: i64| {
        let time = Timestamp::from_microsecond(oldest.as_microsecond() + micros).unwrap();
        format!("{{\"sn\":\"A\",\"infoTimestamp\":\"{time}\"}}")
    };
    let (kept, refused) = (written(0), written(-1));
    assert_eq!(only(json("niu", &kept)).observed_at, oldest);
    assert_eq!(json("niu", &refused).unwrap(), [Err(ParseError::TooOld)]);
    let old = r#"[{"sn":"A","infoTimestamp":1600000000},{"sn":"B"}]"#;
    let events = json("niu", old).unwrap();
    assert_eq!(events[0], Err(ParseError::TooOld));
    assert!(events[1].is_ok());
    // With a recent time in the same event, the old one is from a clock that has lost its date.
    let body = r#"{"sn":"A","infoTimestamp":1700000000,"time":1718000001000}"#;
    let event = only(json("niu", body));
    assert_eq!((event.observed_at, event.clock_skewed), (at("06:13:21"), true));
    let old_fix =
        r#"{"sn":"A","infoTimestamp":1718000000,"gpsTimestamp":1600000000,"postion":{"lat":1,"lng":2}}"#;
    let event = only(json("niu", old_fix));
    assert_eq!(
        event.attributes.position.unwrap().at,
        "2020-09-13T12:26:40Z".parse::<Timestamp>().unwrap().into()
    );
    assert!(!event.clock_skewed);
}

#[test]
fn limits_and_reception_decide_not_now() {
    let body = br#"{"sn":"A","infoTimestamp":1718000000}"#;
    let parse = |received_at: &str, limits: &Limits| {
        let received_at = received_at.parse().unwrap();
        let message = Message { topic: "", content_type: None, received_at, body };
        fleet_providers::provider("niu").unwrap().parse(&message, limits).unwrap().remove(0)
    };
    let limits = Limits { max_clock_skew: SignedDuration::ZERO, ..Limits::default() };
    let event = parse("2024-06-10T06:13:19.123456789Z", &limits).unwrap();
    assert!(event.clock_skewed);
    assert_eq!(event.observed_at, at("06:13:19.123"));
    let limits = Limits { max_age: SignedDuration::from_secs(1), ..Limits::default() };
    assert!(parse("2024-06-10T06:13:21Z", &limits).is_ok());
    assert_eq!(parse("2024-06-10T06:13:21.001Z", &limits), Err(ParseError::TooOld));
    for extreme in [Timestamp::MIN, Timestamp::MAX] {
        // The arithmetic must not overflow at the ends of the calendar.
        let _ = parse(&extreme.to_string(), &Limits::default());
    }
}

#[test]
fn redelivery_meets_the_same_ids() {
    for fixture in crate::support::fixtures() {
        let ids = |message: &Message<'_>| -> Vec<_> {
            let events = fixture.provider.parse(message, &Limits::default()).unwrap();
            events.into_iter().flatten().map(|event| (event.event_id, event.observed_at)).collect()
        };
        let first = ids(&fixture.message());
        assert_eq!(first, ids(&fixture.message()));
        let later = Message { received_at: at("07:00:00"), ..fixture.message() };
        let timeless = ["alert", "fault", "firmware", "location_gps_time_zero"]
            .iter()
            .any(|kind| fixture.situation.starts_with(kind));
        // A retry without a usable time is a second row.
        assert_eq!(first == ids(&later), !timeless, "{}", fixture.situation);
    }
}

#[test]
fn ids_tell_events_apart() {
    let id = |body: &str| only(json("niu", body)).event_id;
    let base = id(r#"{"sn":"A","type":"x","infoTimestamp":1718000000}"#);
    assert_ne!(base, id(r#"{"sn":"B","type":"x","infoTimestamp":1718000000}"#));
    assert_ne!(base, id(r#"{"sn":"A","type":"y","infoTimestamp":1718000000}"#));
    assert_ne!(base, id(r#"{"sn":"A","type":"x","infoTimestamp":1718000000,"nowSpeed":1}"#));
    let invers = |kind: &str, time: &str, id: &str, extra: &str| {
        let body = format!(
            "{{\"metadata\":{{\"id\":\"{id}\",\"type\":\"{kind}\",\"occurred_at\":\"2024-06-10T06:13:{time}Z\"}},\
             \"data\":{{\"vehicle_id\":\"A\"{extra}}}}}"
        );
        only(json("invers", &body)).event_id
    };
    let base = invers("x", "20", "1", "");
    assert_ne!(base, invers("y", "20", "1", ""));
    assert_ne!(base, invers("x", "21", "1", ""));
    assert_ne!(base, invers("x", "20.0", "1", ""));
    assert_ne!(base, invers("x", "20", "2", ""));
    // The provider's id replaces the content.
    assert_eq!(base, invers("x", "20", "1", ",\"note\":1"));
}

#[test]
fn ids_never_change() {
    // These ids are stored in databases and must not change.
    let id = |slug, file| {
        let fixture = Fixture::named(slug, file);
        let event = only(fixture.provider.parse(&fixture.message(), &Limits::default()));
        (event.vehicle_id.to_string(), event.event_id.to_string())
    };
    let expected = |vehicle: &str, event: &str| (vehicle.to_owned(), event.to_owned());
    assert_eq!(
        id("invers", "current_envelope.json"),
        expected("eaa3c612-94d1-53ab-9c50-4d23ad5cd60f", "819e20da-a144-5327-8d25-5b36aef9135e")
    );
    assert_eq!(
        id("segway", "alert_1_illegal_movement.form"),
        expected("b1103164-7165-568e-8baa-0d1f9dcab40e", "ddddb980-e845-53b1-a11e-512d3212b5d8")
    );
}

#[test]
fn nothing_lies_before_the_epoch_whatever_the_limits() {
    let body =
        br#"{"sn":"A","infoTimestamp":-5000000000,"gpsTimestamp":-5000000000,"postion":{"lat":1,"lng":2}}"#;
    let limits = Limits { max_age: SignedDuration::from_hours(24 * 366 * 1000), ..Limits::default() };
    let message = Message { topic: "", content_type: None, received_at: received_at(), body };
    let events = fleet_providers::provider("niu").unwrap().parse(&message, &limits).unwrap();
    let event = events[0].as_ref().unwrap();
    assert_eq!((event.observed_at, event.clock_skewed), (received_at(), true));
    assert_eq!(event.attributes.position.map(|fix| fix.at), Some(received_at().into()));
}

//! Input that no provider should send, and its result.

use fleet_providers::{Attributes, ParseError, VehicleEvent};

use crate::support::{bytes, form, json, only, received_at, refusal};

const JSON_TYPE: &str = "application/json";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

#[test]
fn whole_messages_are_refused_with_their_reason() {
    let deep = |depth: usize| format!("{{\"sn\":\"A\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let cases = [
        ("", "unparsable"),
        (" \n", "unparsable"),
        ("\u{feff}", "unparsable"),
        ("null", "unparsable"),
        ("1", "unparsable"),
        ("\"sn\"", "unparsable"),
        ("{", "unparsable"),
        ("{\"sn\":\"A\"}}", "unparsable"),
        ("{\"sn\":\"A\"} x", "unparsable"),
        ("{\"sn\":\"A\",}", "unparsable"),
        ("{\"sn\":\"a\tb\"}", "unparsable"),
        ("{\"sn\":\"\\u12\"}", "unparsable"),
        ("{\"sn\":NaN}", "unparsable"),
        (&deep(64), "too_deep"),
        (&deep(10_000), "too_deep"),
    ];
    for provider in ["niu", "invers", "segway"] {
        for (body, reason) in cases {
            let shown = body.get(..60.min(body.len())).unwrap_or_default();
            let parsed = bytes(provider, JSON_TYPE, body.as_bytes());
            assert_eq!(refusal(parsed), reason, "{provider}: {shown}");
        }
    }
    for provider in ["niu", "invers"] {
        assert_eq!(refusal(bytes(provider, JSON_TYPE, b"sn=A")), "unparsable");
    }
}

#[test]
fn what_only_looks_harmful_is_taken() {
    let deep = format!("{{\"sn\":\"A\",\"x\":{}{}}}", "[".repeat(63), "]".repeat(63));
    for body in [
        r#"{"sn":"A","x":"\\u0000"}"#,
        r#"{"sn":"A","x":"\\\\u0000"}"#,
        r#"{"sn":"A","x":"\\ud800"}"#,
        r#"{"sn":"A","x":"\ud83d\ude00"}"#,
        r#"{"sn":"A","x":"\u00001"}"#.replace("\\u0000", "\\u0001").as_str(),
        r#"{"sn":"A","x":"[[[[{{{{\"]]"}"#,
        "{\"sn\":\"A\",\"x\":\"\u{10ffff}\"}",
        deep.as_str(),
    ] {
        let event = only(json("niu", body));
        assert_eq!(event.provider_vehicle_id, "A", "{body}");
        assert_eq!(event.raw, body);
    }
    let many_brackets = format!("{{\"sn\":\"A\",\"x\":[{}0]}}", "[],".repeat(500));
    assert_eq!(only(json("niu", &many_brackets)).raw, many_brackets);
}

#[test]
fn forms_are_refused_with_their_reason() {
    for (body, reason) in [
        ("", "unparsable"),
        ("&&", "unparsable"),
        ("iotCode=1&x=%FF", "invalid_utf8"),
        ("iotCode=1&x=%ed%a0%80", "invalid_utf8"),
    ] {
        assert_eq!(refusal(form(body)), reason, "{body}");
    }
    assert_eq!(refusal(bytes("segway", FORM_TYPE, b"iotCode=1&x=\xff")), "invalid_utf8");
    for harmless in ["iotCode=1&x=%2500", "iotCode=1&x=%0", "iotCode=1&x=%zz", "iotCode=1&x=%"] {
        assert_eq!(only(form(harmless)).provider_vehicle_id, "1");
    }
    assert_eq!(only(form("iotCode=1&iotCode=2&locked=true")).provider_vehicle_id, "2");
}

#[test]
fn one_bad_event_does_not_sink_its_neighbours() {
    let body =
        r#"[{"sn":"A"}, {"type":"status"}, {"sn":"  "}, {"sn":null}, {"sn":{}}, 7, "x", [], {"sn":"B"}]"#;
    let events = json("niu", body).unwrap();
    let outcome = |event: &Result<VehicleEvent<'_>, ParseError>| match event {
        Ok(event) => event.provider_vehicle_id.to_string(),
        Err(error) => error.reason().to_owned(),
    };
    let reasons: Vec<_> = events.iter().map(outcome).collect();
    let missing = "missing_vehicle_id";
    let expected = ["A", missing, missing, missing, missing, "unparsable", "unparsable", "unparsable", "B"];
    assert_eq!(reasons, expected);
}

#[test]
fn every_provider_needs_a_vehicle() {
    for (provider, body) in [
        ("niu", "{}"),
        ("segway", "{\"vehicleCode\":\"SGWTEST0001\"}"),
        ("invers", "{\"metadata\":{\"type\":\"VehicleStateRecorded\"},\"data\":{}}"),
        ("invers", "{\"event\":{\"status\":{}}}"),
        ("invers", "{}"),
    ] {
        let events = json(provider, body).unwrap();
        assert_eq!(events, [Err(ParseError::MissingVehicleId)], "{body}");
    }
}

#[test]
fn vehicle_ids_are_trimmed_and_bounded() {
    let event = only(json("niu", "{\"sn\":\" \\tNb1 \"}"));
    assert_eq!(event.provider_vehicle_id, "Nb1");
    assert_eq!(event.vehicle_id, fleet_providers::vehicle_id("niu", "Nb1"));
    let named = |length: usize| format!("{{\"sn\":\"{}\"}}", "x".repeat(length));
    assert!(json("niu", &named(128)).unwrap()[0].is_ok());
    let too_long = named(129);
    let events = json("niu", &too_long).unwrap();
    assert_eq!(events[0].as_ref().unwrap_err().reason(), "unparsable");
}

#[test]
fn no_more_than_ten_thousand_events() {
    let array = |count: usize| format!("[{}]", vec!["{\"sn\":\"A\"}"; count].join(","));
    assert_eq!(json("niu", &array(10_000)).unwrap().len(), 10_000);
    assert_eq!(json("niu", &array(10_001)), Err(ParseError::TooManyEvents(10_001)));
    let wrapped = format!("{{\"data\":{}}}", array(10_001));
    assert_eq!(json("niu", &wrapped), Err(ParseError::TooManyEvents(10_001)));
    assert_eq!(json("invers", &wrapped), Err(ParseError::TooManyEvents(10_001)));
    assert_eq!(json("niu", "[]"), Ok(vec![]));
    assert_eq!(json("niu", "{\"data\":[]}"), Ok(vec![]));
}

#[test]
fn values_of_the_wrong_kind_are_absent_and_the_rest_applies() {
    let wrong =
        ["1e999", "-1e999", "null", "{}", "[]", "[1]", "\"\"", "\"x\"", "\"1e999\"", "\"NaN\"", "\"inf\""];
    let names = [
        "nowSpeed",
        "estimatedMileage",
        "totalMileage",
        "isFortificationOn",
        "isCharging",
        "ss_online_sta",
        "batteries",
        "postion",
        "infoTimestamp",
        "time",
        "gpsTimestamp",
        "type",
    ];
    for value in wrong {
        for name in names {
            let body = format!("{{\"sn\":\"A\",\"isAccOn\":1,\"{name}\":{value}}}");
            let event = only(json("niu", &body));
            let powered_on = event.attributes.powered_on;
            assert_eq!(powered_on.map(|on| (on.value, on.at)), Some((true, received_at().into())), "{body}");
            let rest = Attributes { powered_on: None, ..event.attributes };
            assert_eq!(rest, Attributes::default(), "{body}");
        }
    }
    for flag in ["2", "-1", "0.5", "\"yes\""] {
        let body = format!("{{\"sn\":\"A\",\"isAccOn\":{flag}}}");
        assert_eq!(only(json("niu", &body)).attributes, Attributes::default(), "{body}");
    }
    let nested = r#"{"sn":"A","postion":{"lat":1e999,"lng":1},"batteries":{"compartmentA":7}}"#;
    assert_eq!(only(json("niu", nested)).attributes, Attributes::default());
}

#[test]
fn wrong_kinds_in_an_invers_property() {
    for property in
        ["1e999", "{}", "{\"value\":null}", "{\"value\":{}}", "{\"timestamp\":\"x\"}", "[]", "\"\""]
    {
        let body = format!(
            "{{\"metadata\":{{\"type\":\"VehicleStateRecorded\",\"id\":7}},\"data\":{{\"vehicle_id\":\"A\",\
             \"vehicle_state\":{{\"mileage_in_kilometers\":{property},\"position\":{property},\
             \"ignition\":{property},\"central_lock\":{{\"value\":\"LOCKED\"}}}}}}}}"
        );
        let event = only(json("invers", &body));
        assert_eq!(event.attributes.locked.map(|locked| locked.value), Some(true), "{body}");
        let rest = Attributes { locked: None, ..event.attributes };
        assert_eq!(rest, Attributes::default(), "{body}");
        assert_eq!(event.provider_event_id.as_deref(), Some("7"));
    }
}

#[test]
fn of_repeated_names_the_last_counts() {
    let event = only(json("niu", r#"{"sn":"A","isAccOn":0,"sn":"B","isAccOn":1}"#));
    assert_eq!(event.provider_vehicle_id, "B");
    assert_eq!(event.attributes.powered_on.map(|on| on.value), Some(true));
    let body = r#"{"metadata":{"type":"x","type":"y"},"metadata":{"type":"z"},"data":{"vehicle_id":"A","vehicle_id":"B"}}"#;
    let event = only(json("invers", body));
    assert_eq!((&*event.provider_vehicle_id, &*event.kind), ("B", "z"));
}

#[test]
fn names_and_values_may_be_escaped() {
    let event = only(json("niu", r#"{"s\u006e":"\u0041","type":"a\"b"}"#));
    assert_eq!((&*event.provider_vehicle_id, &*event.kind), ("A", "a\"b"));
}

#[test]
fn kinds_are_bounded() {
    let body = format!("{{\"sn\":\"A\",\"type\":\"{}\"}}", "ä".repeat(100));
    assert_eq!(only(json("niu", &body)).kind, "ä".repeat(64));
    assert_eq!(only(json("niu", "{\"sn\":\"A\",\"type\":\" \"}")).kind, "status");
    let escaped = format!("{{\"sn\":\"A\",\"type\":\"\\\"{}\"}}", "x".repeat(100));
    assert_eq!(only(json("niu", &escaped)).kind.len(), 64);
}

#[test]
fn reasons_are_listed() {
    let errors = [
        ParseError::InvalidUtf8,
        ParseError::Unparsable(String::new()),
        ParseError::InvalidCharacter,
        ParseError::TooDeep,
        ParseError::TooManyEvents(0),
        ParseError::MissingVehicleId,
        ParseError::TooOld,
    ];
    assert_eq!(errors.map(|error| error.reason()), ParseError::REASONS);
}

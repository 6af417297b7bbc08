//! A bad event in an array affects only that event, whatever is wrong with it. A bad character in an unused text affects only
//! that text.

use fleet_providers::{Attribute, DropReason, ParseError, VehicleEvent};

use crate::support::{bytes, form, json, only};

const JSON_TYPE: &str = "application/json";
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The result for each event: the vehicle's id, or the reason of the refusal.
fn outcomes(provider: &str, body: &[u8]) -> Vec<String> {
    let outcome = |event: Result<VehicleEvent<'_>, ParseError>| match event {
        Ok(event) => event.provider_vehicle_id.to_string(),
        Err(error) => error.reason().to_owned(),
    };
    bytes(provider, JSON_TYPE, body).expect("it can be split").into_iter().map(outcome).collect()
}

/// An array with `bad` between two valid events.
fn around(bad: &[u8]) -> Vec<u8> {
    [br#"[{"sn":"A","qnr":"A"},"#, bad, br#",{"sn":"B","qnr":"B"}]"#].concat()
}

#[test]
fn a_bad_event_costs_itself() {
    let deep =
        [br#"{"sn":"X","qnr":"X","x":"#, "[".repeat(64).as_bytes(), "]".repeat(64).as_bytes(), b"}"].concat();
    let deepest =
        [br#"{"sn":"X","x":"#, "[".repeat(100_000).as_bytes(), "]".repeat(100_000).as_bytes(), b"}"].concat();
    let cases: [(&[u8], &str); 14] = [
        (br#"{"sn":"X","x":NaN}"#, "unparsable"),
        (br#"{"sn":"X","x":-Infinity}"#, "unparsable"),
        (br#"{"sn":"X","x":01}"#, "unparsable"),
        (b"{\"sn\":\"X\",\"x\":\"a\tb\"}", "unparsable"),
        (b"{\"sn\":\"X\",\"x\":\"a\0b\"}", "unparsable"),
        (br#"{"sn":"X","x":"\u12"}"#, "unparsable"),
        (br#"{"sn":"X","x":"\x"}"#, "unparsable"),
        (br#"{"sn":"X" "x":1}"#, "unparsable"),
        (br#"{"sn":"X","x":1,}"#, "unparsable"),
        (br#"{"sn":"X","x":[1}"#, "unparsable"),
        (br#"{"sn":"X"}}"#, "unparsable"),
        (b"", "unparsable"),
        (&deep, "too_deep"),
        (&deepest, "too_deep"),
    ];
    for (bad, reason) in cases {
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(60)]);
        let body = around(bad);
        assert_eq!(outcomes("niu", &body), ["A", reason, "B"], "{shown}");
        assert_eq!(outcomes("invers", &body), ["A", reason, "B"], "{shown}");
        let wrapped = [br#"{"status":0,"data":"#, body.as_slice(), br#","desc":"x"}"#].concat();
        assert_eq!(outcomes("niu", &wrapped), ["A", reason, "B"], "wrapped: {shown}");
        assert_eq!(outcomes("invers", &wrapped), ["A", reason, "B"], "wrapped: {shown}");
    }
}

#[test]
fn an_array_that_is_not_whole_gives_what_is_whole() {
    let cases: [(&[u8], &[&str]); 12] = [
        (br#"[{"sn":"A"}"#, &["A", "unparsable"]),
        (br#"[{"sn":"A"},"#, &["A", "unparsable"]),
        (br#"[{"sn":"A"},{"sn":"B","#, &["A", "unparsable"]),
        (br#"[{"sn":"A"},{"sn":"B},{"sn":"C"}]"#, &["A", "unparsable", "C"]),
        (br#"[{"sn":"A,"v":1},{"sn":"B","v":2},{"sn":"C"}]"#, &["unparsable", "B", "C"]),
        (br#"[{"sn":"A","x":{"b":1} , {"sn":"B"},{"sn":"C"}]"#, &["unparsable", "B", "C"]),
        (br#"[{"sn":"A"}],{"sn":"B"},{"sn":"C"}]"#, &["A", "B", "C", "unparsable"]),
        (br#"[{"sn":"A"},{"sn":"B"},]"#, &["A", "B"]),
        (br#"[{"sn":"A"}] x"#, &["A", "unparsable"]),
        (br#"[{"sn":"A"}][{"sn":"B"}]"#, &["A", "unparsable"]),
        (b"[", &["unparsable"]),
        (b" [ ] ", &[]),
    ];
    for (body, expected) in cases {
        assert_eq!(outcomes("niu", body), expected, "{}", String::from_utf8_lossy(body));
    }
}

/// The end of an element with a missing quotation mark is unknown. The parser guesses it eight times at most.
#[test]
fn guesses_are_bounded() {
    let body = format!("[{}]", [r#"{"sn":"A}"#; 20].join(","));
    let outcomes = outcomes("niu", body.as_bytes());
    assert!(outcomes.len() <= 12 && outcomes.iter().all(|outcome| outcome == "unparsable"), "{outcomes:?}");
}

#[test]
fn an_envelope_holds_what_is_inside_of_it() {
    let refused = |body: &str| bytes("niu", JSON_TYPE, body.as_bytes()).expect_err("it is refused").reason();
    assert_eq!(refused(r#"{"status":0} "data":[{"sn":"A"}]"#), "unparsable");
    assert_eq!(refused(r#"{"status":0},"data":[{"sn":"A"}]}"#), "unparsable");
    assert_eq!(refused(r#"{"status":nul,"data":"[]"}"#), "unparsable");
    // An event may have a member with this name.
    assert_eq!(outcomes("niu", br#"{"sn":"A","data":[{"sn":"B"}]}"#), ["A"]);
    assert_eq!(refused(r#"{"sn":"A","x":nul,"data":[{"sn":"B"}]}"#), "unparsable");
    assert_eq!(outcomes("niu", br#"{"sn":null,"desc":"a]},{\"","data":[{"sn":"B"}]}"#), ["B"]);
}

#[test]
fn an_unread_text_costs_itself() {
    for (written, stored) in [
        (&br#""TRB2\u0000\u0000""#[..], r#""TRB2\ufffd\ufffd""#),
        (br#""scooter \ud83d""#, r#""scooter \ufffd""#),
        (br#""\uDC00""#, r#""\ufffd""#),
        (br#""\ud800\ud800""#, r#""\ufffd\ufffd""#),
        (br#""\ud83d \ude00""#, r#""\ufffd \ufffd""#),
        (br#""\\\u0000\\""#, r#""\\\ufffd\\""#),
        (br#"{"\u0000":["\u0000"]}"#, r#"{"\ufffd":["\ufffd"]}"#),
        (b"\"M\xfcnchen\"", "\"M\u{fffd}nchen\""),
        // The other texts stay unchanged.
        (br#"["\ud83d\ude00","\\u0000","\u0000"]"#, r#"["\ud83d\ude00","\\u0000","\ufffd"]"#),
    ] {
        let event = [br#"{"sn":"A","nowSpeed":7,"x":"#, written, b"}"].concat();
        let body = [b"[", event.as_slice(), b"]"].concat();
        let event = only(bytes("niu", JSON_TYPE, &body));
        assert_eq!(event.attributes.speed_kmh.map(|speed| speed.value), Some(7.0));
        assert_eq!(event.raw, format!(r#"{{"sn":"A","nowSpeed":7,"x":{stored}}}"#));
        let [dropped] = event.dropped.as_slice() else { panic!("{:?}", event.dropped) };
        assert_eq!((dropped.attribute, dropped.reason), (Attribute::Raw, DropReason::InvalidCharacter));
        let raw: serde_json::Value = serde_json::from_str(&event.raw).unwrap();
        assert!(raw.is_object());
    }
    let event = only(form("iotCode=1&speed=7&x=%00a%00&%00=1"));
    assert_eq!(event.attributes.speed_kmh.map(|speed| speed.value), Some(7.0));
    assert_eq!(
        event.raw,
        "{\"iotCode\":\"1\",\"speed\":\"7\",\"x\":\"\u{fffd}a\u{fffd}\",\"\u{fffd}\":\"1\"}"
    );
    assert_eq!(event.dropped.len(), 1);
}

#[test]
fn a_repaired_event_is_read_as_every_other() {
    let body = br#"{"sn":"A","infoTimestamp":1718000000123,"postion":{"lat":1,"lng":2,"note":"\u0000"},"type":"x\u0000"}"#;
    let event = only(bytes("niu", JSON_TYPE, body));
    assert_eq!(event.attributes.position.map(|fix| (fix.value.lat, fix.value.lon)), Some((1.0, 2.0)));
    assert_eq!(event.kind, "x\u{fffd}");
    let body =
        br#"{"metadata":{"occurred_at":"2024-06-10T06:13:20Z"},"data":{"vehicle_id":"A","note":"\ud800",
        "central_lock":{"timestamp":"2024-06-10T06:13:19Z","value":"LOCKED"}}}"#;
    let event = only(bytes("invers", JSON_TYPE, body));
    let locked = event.attributes.locked.expect("it is locked");
    assert_eq!(
        (locked.value, locked.at),
        (true, "2024-06-10T06:13:19Z".parse::<jiff::Timestamp>().unwrap().into())
    );
}

#[test]
fn an_id_with_a_control_character_is_refused() {
    for id in ["A\\u0000", "\\u0007A", "A\\nB", "A\\u007fB", "A\\u0085B", "A\\ud800", "A\\ufffd"] {
        for body in [format!(r#"{{"sn":"{id}"}}"#), format!(r#"[{{"sn":"{id}"}}]"#)] {
            assert_eq!(json("niu", &body).unwrap(), [Err(ParseError::InvalidCharacter)], "{id}");
        }
    }
    assert_eq!(form("iotCode=1%00").unwrap(), [Err(ParseError::InvalidCharacter)]);
    // White space may surround it.
    assert_eq!(only(json("niu", r#"{"sn":"\tA\n"}"#)).provider_vehicle_id, "A");
    // Two events with broken ids must not look like the same event.
    let id = |id: &str| {
        let body =
            format!(r#"{{"metadata":{{"id":"{id}"}},"data":{{"vehicle_id":"A","x":"{}"}}}}"#, id.len());
        only(json("invers", &body)).event_id
    };
    assert_ne!(id("\\u0000"), id("\\ud800\\ud800"));
}

#[test]
fn a_byte_order_mark_and_the_wrong_label_are_no_hindrance() {
    let good = br#"{"sn":"A"}"#;
    let marked = [b"\xef\xbb\xbf", &good[..]].concat();
    for content_type in [JSON_TYPE, FORM_TYPE, "text/plain"] {
        assert_eq!(only(bytes("niu", content_type, good)).provider_vehicle_id, "A");
        assert_eq!(only(bytes("niu", content_type, &marked)).raw, r#"{"sn":"A"}"#);
        let segway = br#"{"iotCode":"1","speed":"7"}"#;
        assert_eq!(only(bytes("segway", content_type, segway)).provider_vehicle_id, "1");
        for ending in ["", "\r\n", "\n", " ", "\0", "\0\0\r\n\0"] {
            let body = format!("\u{feff}iotCode=1&locked=true{ending}");
            let event = only(bytes("segway", content_type, body.as_bytes()));
            assert_eq!(event.attributes.locked.map(|locked| locked.value), Some(true), "{content_type}");
            assert_eq!(event.raw, r#"{"iotCode":"1","locked":"true"}"#);
        }
    }
}

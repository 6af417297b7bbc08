//! Every unit and every flag of every provider, with hand-written expected values.

use fleet_providers::{Attributes, Position, Timed, VehicleEvent, vehicle_id};

use crate::support::{self, Fixture, at, form, json, only};

fn event<R>(slug: &str, file: &str, check: impl FnOnce(&VehicleEvent<'_>) -> R) -> R {
    let fixture = Fixture::named(slug, file);
    check(&only(fixture.provider.parse(&fixture.message(), &fleet_providers::Limits::default())))
}

fn timed<T>(value: T, time: &str) -> Option<Timed<T>> {
    Some(Timed { value, at: at(time).into(), received_at: crate::support::received_at().into() })
}

fn place(lat: f64, lon: f64, altitude_m: Option<f64>) -> Position {
    Position { lat, lon, altitude_m, heading_deg: None, accuracy_m: None }
}

#[test]
fn niu_units_flags_and_times() {
    event("niu", "n1s_single_battery.json", |event| {
        let at = "06:13:20.123";
        let expected = Attributes {
            position: timed(place(52.512615, 13.419838333333333, None), "06:12:30"),
            speed_kmh: timed(0.0, at),
            battery_percent: timed(68.0, at),
            range_m: timed(39_000, at),
            odometer_m: timed(1_089_398, at),
            powered_on: timed(false, at),
            locked: timed(true, at),
            charging: timed(false, at),
            online: timed(true, at),
            driving_enabled: None,
        };
        assert_eq!(event.attributes, expected);
        assert_eq!(event.observed_at, support::at(at));
        assert_eq!((&*event.kind, &*event.provider_vehicle_id), ("status", "NBTESTN1S0000001"));
        assert_eq!(event.vehicle_id, vehicle_id("niu", "NBTESTN1S0000001"));
        assert!(!event.clock_skewed);
    });
}

#[test]
fn niu_strings_are_numbers_and_flags_too() {
    event("niu", "string_flags.json", |event| {
        let at = "06:13:20.123";
        let attributes = event.attributes;
        assert_eq!(attributes.powered_on, timed(true, at));
        assert_eq!(attributes.locked, timed(false, at));
        assert_eq!(attributes.charging, timed(true, at));
        // ss_online_sta has priority over isConnected.
        assert_eq!(attributes.online, timed(true, at));
        assert_eq!(attributes.speed_kmh, timed(21.5, at));
        assert_eq!(attributes.range_m, timed(39_000, at));
        assert_eq!(attributes.odometer_m, timed(1_089_398, at));
        assert_eq!(attributes.position, timed(place(52.512615, 13.419838333333333, None), "06:12:30"));
    });
    let offline = json("niu", r#"{"sn":"A","isConnected":false}"#);
    assert_eq!(only(offline).attributes.online.map(|online| online.value), Some(false));
}

#[test]
fn niu_battery_is_the_mean_of_the_connected_ones() {
    let percent = |file| event("niu", file, |event| event.attributes.battery_percent.map(|b| b.value));
    assert_eq!(percent("dual_battery.json"), Some(75.5));
    assert_eq!(percent("dual_battery_one_connected.json"), Some(80.0));
    assert_eq!(percent("missing_batteries.json"), None);
    let three = r#"{"sn":"A","batteries":{"compartmentA":{"batteryCharging":"30"},
        "compartmentB":{"batteryCharging":101},"compartmentC":{"batteryCharging":60,"isConnected":"1"}}}"#;
    assert_eq!(only(json("niu", three)).attributes.battery_percent.map(|b| b.value), Some(45.0));
}

#[test]
fn niu_unknowns_are_absent() {
    assert_eq!(event("niu", "fortification_unknown.json", |event| event.attributes.locked), None);
    event("niu", "zero_zero.json", |event| {
        assert_eq!(event.attributes.position, None);
        assert_eq!(event.attributes.online, timed(false, "06:13:20.123"));
    });
    event("niu", "unknown_type.json", |event| {
        assert_eq!(event.kind, "helmet_removed");
        assert_eq!(event.attributes, Attributes::default());
    });
}

#[test]
fn niu_names_that_vary() {
    event("niu", "sn_id.json", |event| {
        assert_eq!(event.provider_vehicle_id, "NBTESTMQI0000003");
        assert_eq!(event.attributes.position.map(|p| p.value), Some(place(52.5, 13.4, None)));
    });
    assert_eq!(only(json("niu", r#"{"sn":" ","sn_id":"B"}"#)).provider_vehicle_id, "B");
    let whole_km = only(json("niu", r#"{"sn":7001,"totalMileage":-0.0,"time":1718000000}"#));
    assert_eq!(whole_km.provider_vehicle_id, "7001");
    assert_eq!(whole_km.attributes.odometer_m, timed(0, "06:13:20"));
}

#[test]
fn niu_envelopes() {
    let fixture = Fixture::named("niu", "data_array.json");
    let events = fixture.provider.parse(&fixture.message(), &fleet_providers::Limits::default()).unwrap();
    let vehicles: Vec<_> =
        events.iter().map(|event| event.as_ref().unwrap().provider_vehicle_id.as_ref()).collect();
    assert_eq!(vehicles, ["NBTESTN1S0000001", "NBTESTNGT0000002"]);
    event("niu", "data_object.json", |event| {
        assert!(event.raw.starts_with("{\n    \"sn\""));
    });
}

#[test]
fn segway_units_flags_and_times() {
    event("segway", "status_v1_with_location.form", |event| {
        let expected = Attributes {
            position: timed(place(52.520008, 13.404954, Some(34.1)), "06:13:15"),
            speed_kmh: timed(18.5, "06:13:20"),
            battery_percent: timed(78.0, "06:13:20"),
            range_m: timed(34_000, "06:13:20"),
            odometer_m: timed(12_300, "06:13:20"),
            powered_on: None,
            locked: timed(false, "06:13:20"),
            charging: timed(false, "06:13:20"),
            online: timed(true, "06:13:20"),
            driving_enabled: None,
        };
        assert_eq!(event.attributes, expected);
        assert_eq!((&*event.kind, &*event.provider_vehicle_id), ("status", "860000000000017"));
    });
    event("segway", "status_pull_spelling.form", |event| {
        assert_eq!(event.attributes.range_m, timed(27_500, "06:13:20"));
        assert_eq!(event.attributes.position.map(|position| position.at), Some(at("06:13:10").into()));
    });
}

#[test]
fn segway_json_says_the_same() {
    event("segway", "status.json", |event| {
        let attributes = event.attributes;
        assert_eq!(attributes.online, timed(true, "06:13:20"));
        assert_eq!(attributes.locked, timed(false, "06:13:20"));
        assert_eq!(attributes.charging, timed(false, "06:13:20"));
        assert_eq!(attributes.speed_kmh, timed(12.5, "06:13:20"));
        assert_eq!(attributes.battery_percent, timed(64.0, "06:13:20"));
        assert_eq!(attributes.odometer_m, timed(12_300, "06:13:20"));
        assert_eq!(attributes.range_m, timed(34_000, "06:13:20"));
    });
}

#[test]
fn segway_kinds_follow_the_topic() {
    for (topic, kind) in [
        ("vehicle/status", "status"),
        ("status", "status"),
        ("/vehicle/location/", "location"),
        ("vehicle/alert", "alert"),
        ("fault", "fault"),
        ("firmware/upgrade/complete", "firmware_upgrade_complete"),
        ("vehicle/firmware/upgrade/complete", "firmware_upgrade_complete"),
        ("vehicle/helmet/<b>", "helmet__b_"),
        ("", "status"),
    ] {
        let fixture = Fixture { topic, ..Fixture::named("segway", "status_v2.form") };
        let events = fixture.provider.parse(&fixture.message(), &fleet_providers::Limits::default());
        let event = only(events);
        assert_eq!(event.kind, kind, "{topic}");
        let stateless = ["alert", "fault", "firmware_upgrade_complete"].contains(&kind);
        assert_eq!(event.attributes == Attributes::default(), stateless, "{topic}");
    }
    assert_eq!(only(form("iotCode=1&latitude=1&longitude=2")).kind, "location");
    assert_eq!(only(form("iotCode=1&code=1")).kind, "unknown");
}

#[test]
fn segway_forms_are_stored_as_json_in_their_order() {
    let event = only(form("iotCode=1&note=a+%22b%22%0A&empty=&bare&locked=TRUE&%6Fnline=0"));
    assert_eq!(
        event.raw,
        r#"{"iotCode":"1","note":"a \"b\"\n","empty":"","bare":"","locked":"TRUE","online":"0"}"#
    );
    assert_eq!(event.attributes.locked.map(|locked| locked.value), Some(true));
    assert_eq!(event.attributes.online.map(|online| online.value), Some(false));
}

#[test]
fn invers_units_flags_and_times() {
    event("invers", "current_envelope.json", |event| {
        let expected = Attributes {
            position: timed(place(50.834, 8.0219, Some(251.5)), "06:13:18"),
            speed_kmh: None,
            battery_percent: timed(85.0, "06:10:00"),
            range_m: timed(312_500, "06:10:00"),
            odometer_m: timed(10_000_000, "06:10:00"),
            powered_on: timed(false, "06:13:20"),
            locked: timed(false, "06:13:20"),
            charging: None,
            online: None,
            driving_enabled: timed(true, "06:13:20"),
        };
        assert_eq!(event.attributes, expected);
        assert_eq!((&*event.kind, &*event.provider_vehicle_id), ("VehicleStateRecorded", "AB1C2"));
        assert_eq!(event.provider_event_id.as_deref(), Some("01J0TESTULID0000000000000A"));
        assert_eq!(event.observed_at, at("06:13:20"));
    });
    event("invers", "messaging_envelope.json", |event| {
        assert_eq!(event.kind, "VehicleStateReceived");
        assert_eq!(event.provider_event_id.as_deref(), Some("01J0TESTULID0000000000000B"));
        assert_eq!(event.attributes.battery_percent, timed(41.5, "06:13:20"));
        assert_eq!(event.attributes.locked, timed(true, "06:13:20"));
        assert_eq!(event.attributes.powered_on, timed(true, "06:13:20"));
    });
    let (nested, flat) = ("current_envelope.json", "state_in_data.json");
    let attributes = |file| event("invers", file, |event| event.attributes);
    assert_eq!(attributes(nested), attributes(flat));
}

#[test]
fn invers_altitude_belongs_to_one_fix() {
    event("invers", "stale_position_in_fresh_event.json", |event| {
        let position = event.attributes.position.unwrap();
        assert_eq!(position.at, "2024-05-01T20:00:00Z".parse::<jiff::Timestamp>().unwrap().into());
        assert_eq!(position.value.altitude_m, None);
    });
}

#[test]
fn invers_vehicle_changes_say_who_is_online() {
    event("invers", "vehicle_changed_with_reasons.json", |event| {
        assert_eq!(event.provider_vehicle_id, "AB1C2");
        let online = timed(true, "06:12:00");
        assert_eq!(event.attributes, Attributes { online, ..Attributes::default() });
    });
    event("invers", "vehicle_changed_offline.json", |event| {
        assert_eq!(event.attributes.online, timed(false, "06:13:19"));
    });
}

#[test]
fn invers_types_without_state_change_none() {
    for file in ["unknown_type.json", "trip_started.json", "trip_ended.json", "heartbeat.json"] {
        event("invers", file, |event| {
            assert_eq!(event.attributes, Attributes::default(), "{file}");
        });
    }
    event("invers", "central_lock_status_changed.json", |event| {
        assert_eq!(event.attributes.locked, timed(true, "06:13:20"));
    });
}

#[test]
fn invers_legacy_status() {
    event("invers", "legacy_event_status.json", |event| {
        let expected = Attributes {
            position: timed(place(50.834, 8.0219, None), "06:13:11"),
            speed_kmh: timed(3.5, "06:13:20"),
            battery_percent: timed(57.0, "06:13:20"),
            range_m: timed(212_000, "06:13:20"),
            odometer_m: timed(20_480_500, "06:13:20"),
            powered_on: timed(false, "06:13:20"),
            locked: timed(true, "06:13:20"),
            charging: timed(true, "06:13:20"),
            online: None,
            driving_enabled: timed(false, "06:13:20"),
        };
        assert_eq!(event.attributes, expected);
        assert_eq!(event.provider_vehicle_id, "0123456789ABCDEF");
        assert_eq!(event.kind, "central_lock changed");
    });
    event("invers", "legacy_without_fix.json", |event| {
        assert_eq!(event.attributes.position, None);
        assert_eq!(event.attributes.powered_on, timed(true, "06:13:20"));
        assert_eq!(event.attributes.locked, timed(false, "06:13:20"));
        assert_eq!(event.attributes.charging, timed(false, "06:13:20"));
        assert_eq!(event.kind, "status");
    });
}

/// Bodies that once failed, with a description.
#[test]
fn what_is_odd_about_a_body_costs_no_more_than_that() {
    let fixed = timed(place(52.5, 13.4, None), "06:13:20");
    for file in ["nul_in_an_unused_text.json", "byte_order_mark.json", "info_time_zero.json"] {
        event("niu", file, |event| {
            assert_eq!(event.attributes, Attributes { position: fixed, ..Attributes::default() }, "{file}");
            assert_eq!((event.observed_at, event.clock_skewed), (at("06:13:20"), false), "{file}");
        });
    }
    for (file, is_skewed) in [("gps_time_zero.json", false), ("gps_1024_weeks_late.json", true)] {
        event("niu", file, |event| {
            assert_eq!(event.attributes.position, timed(place(52.9, 13.9, None), "06:13:20"), "{file}");
            assert_eq!(event.clock_skewed, is_skewed, "{file}");
        });
    }
    for file in ["time_in_lower_case.json", "time_with_spaces.json", "time_in_microseconds.json"] {
        event("invers", file, |event| {
            assert_eq!(event.attributes.powered_on, timed(true, "06:13:20"), "{file}");
            assert!(!event.clock_skewed, "{file}");
        });
    }
    event("segway", "location_gps_time_zero.form", |event| {
        assert_eq!(event.attributes.position, timed(place(52.5, 13.4, None), "06:13:30"));
    });
    event("segway", "location_line_end_behind.form", |event| assert_eq!(event.attributes.position, fixed));
    event("segway", "location_decimal_comma.form", |event| {
        assert_eq!(event.attributes, Attributes::default());
        assert_eq!(event.dropped.len(), 1);
    });
}

#[test]
fn a_backlog_loses_its_bad_event_alone() {
    let outcomes = |file| -> Vec<_> {
        let fixture = Fixture::named("niu", file);
        let events = fixture.provider.parse(&fixture.message(), &fleet_providers::Limits::default()).unwrap();
        let position = |event: VehicleEvent<'_>| event.attributes.position.map(|fix| fix.value.lat);
        events.into_iter().map(|event| event.map(position).map_err(|error| error.reason())).collect()
    };
    let here = Ok(Some(52.5));
    assert_eq!(outcomes("backlog_nul_in_an_unused_text.json"), [here, here, here]);
    assert_eq!(outcomes("backlog_cut_emoji.json"), [here, Ok(None), here]);
    assert_eq!(outcomes("backlog_nested_deeply.json"), [here, Err("too_deep"), here]);
}

#[test]
fn the_later_of_two_events_in_one_message_is_received_later() {
    let fixture = Fixture::named("invers", "locked_and_unlocked_within_one_second.json");
    let events = fixture.provider.parse(&fixture.message(), &fleet_providers::Limits::default()).unwrap();
    let locks: Vec<_> =
        events.iter().map(|event| event.as_ref().unwrap().attributes.locked.unwrap()).collect();
    assert_eq!(locks.iter().map(|lock| lock.value).collect::<Vec<_>>(), [true, false]);
    assert_eq!(locks[0].at, locks[1].at);
    assert_eq!(locks[0].received_at, support::received_at().into());
    assert_eq!(locks[1].received_at, at("06:13:30.000001").into());
}

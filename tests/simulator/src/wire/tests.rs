//! Tests the generators with the providers' sample messages.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::Value;

use super::*;
use crate::model::{Expected, Moment, Observation};
use crate::vehicle::{Provider, Role, Vehicle};

const AT_MS: i64 = 1_718_000_000_123;

fn credentials() -> Credentials {
    let secret = "test-secret-0001".to_owned();
    Credentials { niu_token: secret.clone(), segway_secret: secret.clone(), invers_token: secret }
}

fn vehicle(provider: Provider, id: &str) -> Vehicle {
    let mut vehicle = Vehicle::new(0, provider, id.to_owned(), Role::Ordinary, AT_MS, &mut Rng::with_seed(1));
    vehicle.variant = 1;
    vehicle.reports = 1;
    vehicle.batteries = [68, 41];
    vehicle.odometer_m = 1_089_398;
    vehicle
}

fn at(at_ms: i64) -> Moment {
    Moment { at_ms, received_us: 0 }
}

fn fold(webhook: &Webhook) -> Expected {
    let mut expected = Expected::default();
    let seen = webhook.events.iter().flat_map(|event| &event.seen);
    seen.for_each(|seen| expected.take(at(seen.at_ms), seen.what));
    expected
}

fn form(webhook: &Webhook) -> BTreeMap<String, String> {
    form_urlencoded::parse(&webhook.body).into_owned().collect()
}

#[test]
fn segway_signatures_are_those_of_two_independent_implementations() {
    let cases = [
        (
            "charging=false&iotCode=860000000000017&lockVoltage=4100&locked=true&networkSignal=22&odometer=1230\
             &online=true&platformCode=E00001&powerPercent=78&remainingRange=3400&speed=0&speedMode=3\
             &statusUtcTime=1718000000000&totalRidingSecs=98765&vehicleCode=SGWTEST0001",
            "f8236db49b7dc3e34c7314e4096c7f81",
        ),
        (
            "altitude=34.1&gpsUtcTime=1718000000000&hdop=0.9&iotCode=860000000000017&latitude=52.520008\
             &longitude=13.404954&platformCode=E00001&satelliteNumber=11&vehicleCode=SGWTEST0001",
            "138f948a8b169e715e1cfbcc9854d433",
        ),
        (
            "code=1&iotCode=860000000000017&platformCode=E00001&vehicleCode=SGWTEST0001",
            "78d7efaaa46b54496b618751360b74e7",
        ),
    ];
    for (text, signature) in cases {
        let fields: BTreeMap<&'static str, String> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key, value.to_owned()))
            .collect();
        assert_eq!(segway::sign(&fields, "test-secret-0001"), signature);
    }
}

#[test]
fn a_segway_status_has_the_fields_of_the_sample_and_distances_in_10_m() {
    let mut vehicle = vehicle(Provider::Segway, "860000000000017");
    vehicle.odometer_m = 12_305;
    let webhook = segway::status(&vehicle, &credentials());
    let form = form(&webhook);
    let keys: Vec<&str> = form.keys().map(String::as_str).collect();
    let expected = "charging iotCode lockVoltage locked networkSignal odometer online platformCode powerPercent \
                    remainingRange sequence signature speed speedMode statusUtcTime totalRidingSecs vehicleCode";
    assert_eq!(keys.join(" "), expected);
    assert_eq!((form["odometer"].as_str(), form["remainingRange"].as_str()), ("1230", "3400"));
    let expected = fold(&webhook);
    assert_eq!(expected.odometer_m, Some((at(AT_MS), 12_300)));
    assert_eq!(expected.range_m, Some((at(AT_MS), 34_000)));
    assert_eq!((expected.position, expected.powered_on), (None, None));
}

#[test]
fn a_segway_v1_status_carries_the_location_at_its_own_time() {
    let mut vehicle = vehicle(Provider::Segway, "860000000000017");
    vehicle.fix_ms = AT_MS - 5_000;
    let webhook = segway::status_with_location(&vehicle, &credentials());
    let form = form(&webhook);
    assert_eq!(form["gpsUtcTime"], (AT_MS - 5_000).to_string());
    let (moment, fix) = fold(&webhook).position.unwrap();
    assert_eq!(moment, at(AT_MS - 5_000));
    assert_eq!(form["latitude"].parse::<f64>().unwrap(), fix.lat);
    assert_eq!(form["altitude"].parse::<f64>().ok(), fix.altitude_m);
}

#[test]
fn a_niu_report_is_the_sample() {
    let vehicle = vehicle(Provider::Niu, "NBTESTN1S0000001");
    let webhook = niu::single(niu::report(&vehicle), &credentials());
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["sn"], "NBTESTN1S0000001");
    assert_eq!(body["totalMileage"], 1089.398);
    assert_eq!(body["batteries"]["compartmentA"]["batteryCharging"], 68);
    assert_eq!(body["isAccOn"], "0");
    assert_eq!(body["postion"]["lat"].as_f64(), Some(vehicle.lat()));
    assert_eq!(webhook.credential, Some(("token", "test-secret-0001".to_owned())));
    let expected = fold(&webhook);
    assert_eq!(expected.odometer_m, Some((at(AT_MS), 1_089_398)));
    assert_eq!(expected.battery_percent, Some((at(AT_MS), 68.0)));
    assert_eq!(expected.locked, Some((at(AT_MS), true)));
}

#[test]
fn niu_batteries_are_averaged_over_the_connected_compartments() {
    let mut vehicle = vehicle(Provider::Niu, "NBTESTN1S0000001");
    vehicle.variant = 2;
    let battery =
        |vehicle: &Vehicle| fold(&niu::single(niu::report(vehicle), &credentials())).battery_percent;
    assert_eq!(battery(&vehicle), Some((at(AT_MS), 54.5)));
    vehicle.reports = 9;
    assert_eq!(battery(&vehicle), Some((at(AT_MS), 68.0)));
}

#[test]
fn a_niu_vehicle_without_a_fix_sends_zeros_that_mean_nothing() {
    let mut vehicle = vehicle(Provider::Niu, "NBTESTN1S0000001");
    vehicle.has_fix = false;
    vehicle.variant = 3;
    let webhook = niu::backlog(vec![niu::report(&vehicle)], &credentials());
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body[0]["postion"]["lat"], 0.0);
    assert_eq!(body[0]["isFortificationOn"], "");
    assert_eq!((fold(&webhook).position, fold(&webhook).locked), (None, None));
}

#[test]
fn an_invers_state_has_a_time_for_every_property() {
    let vehicle = vehicle(Provider::Invers, "AB1C2");
    let webhook =
        invers::state(&vehicle, invers::Readings::of(&vehicle), "01J0TESTULID0000000000000A", &credentials());
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["metadata"]["type"], "VehicleStateRecorded");
    assert_eq!(body["data"]["vehicle_id"], "AB1C2");
    let state = &body["data"]["vehicle_state"];
    assert_eq!(state["mileage_in_kilometers"]["timestamp"], "2024-06-10T06:13:20Z");
    assert_eq!(state["ignition"]["timestamp"], "2024-06-10T06:13:20.123Z");
    assert_eq!(state["central_lock"]["value"], "LOCKED");
    let expected = fold(&webhook);
    assert_eq!(expected.odometer_m, Some((at(1_718_000_000_000), 1_089_398)));
    assert_eq!(expected.powered_on, Some((at(AT_MS), false)));
    assert_eq!(expected.driving_enabled, Some((at(1_718_000_000_000), vehicle.driving_enabled)));
    assert_eq!((expected.speed_kmh, expected.charging, expected.online), (None, None, None));
}

#[test]
fn the_properties_of_an_invers_message_repeat_its_metadata() {
    let id = "01J0TESTULID0000000000000A";
    let mut vehicle = vehicle(Provider::Invers, "AB1C2");
    let message = invers::state(&vehicle, invers::Readings::of(&vehicle), id, &credentials()).amqp.unwrap();
    let text =
        |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    assert_eq!(text(message.message_id()).as_deref(), Some(id));
    assert_eq!(text(message.kind()).as_deref(), Some("VehicleStateRecorded"));
    assert_eq!((*message.timestamp(), *message.delivery_mode()), (Some(1_718_000_000), Some(2)));
    assert!(message.headers().as_ref().unwrap().contains_key("schema_major_version"));
    vehicle.variant = 6;
    let older = invers::state(&vehicle, invers::Readings::of(&vehicle), id, &credentials()).amqp.unwrap();
    assert_eq!(text(older.kind()), None);
    assert!(older.headers().as_ref().unwrap().contains_key("Message-Type"));
}

#[test]
fn alerts_and_unknown_types_say_nothing() {
    let segway = vehicle(Provider::Segway, "860000000000017");
    let alert = segway::alert(&segway, &credentials());
    assert!(form(&alert).contains_key("code") && !alert.keeps_time());
    let unknown = niu::single(niu::unknown(&segway), &credentials());
    let invers = invers::unknown(&segway, "01J0TESTULID0000000000000A", &credentials());
    for webhook in [alert, unknown, invers, segway::unknown(&segway, &credentials())] {
        assert!(webhook.events.iter().all(|event| event.seen.is_empty()));
    }
}

#[test]
fn only_the_first_acknowledgement_counts() {
    let vehicle = vehicle(Provider::Invers, "AB1C2");
    let webhook =
        invers::state(&vehicle, invers::Readings::of(&vehicle), "01J0TESTULID0000000000000A", &credentials());
    assert!(webhook.events[0].seen.iter().any(|seen| seen.what == Observation::PoweredOn(false)));
    assert!(!webhook.is_acknowledged());
    assert_eq!(
        (webhook.acknowledge(), webhook.acknowledge(), webhook.is_acknowledged()),
        (true, false, true)
    );
}

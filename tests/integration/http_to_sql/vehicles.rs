//! The state of a vehicle, read with SQL, after one report or several.

use serde_json::{Value, json};

use super::scene::Scene;

/// The time at which all status fixtures were observed.
const NIU_AT: &str = "2024-06-10T06:13:20.123+00:00";
const AT: &str = "2024-06-10T06:13:20+00:00";

/// `state` with the members of `extra` added.
fn with(state: &Value, extra: &Value) -> Value {
    let mut state = state.as_object().unwrap().clone();
    state.extend(extra.as_object().unwrap().clone());
    Value::Object(state)
}

fn niu_status() -> Value {
    json!({
        "provider": "niu", "provider_vehicle_id": "NBTESTN1S0000001",
        "lat": 52.512615, "lon": 13.419_838_333_333_333, "position_at": "2024-06-10T06:12:30+00:00",
        "speed_kmh": 0, "speed_at": NIU_AT,
        "battery_percent": 68, "battery_at": NIU_AT,
        "range_m": 39_000, "range_at": NIU_AT,
        "odometer_m": 1_089_398, "odometer_at": NIU_AT,
        "powered_on": false, "powered_on_at": NIU_AT,
        "locked": true, "locked_at": NIU_AT,
        "charging": false, "charging_at": NIU_AT,
        "online": true, "online_at": NIU_AT,
    })
}

fn segway_status() -> Value {
    json!({
        "provider": "segway", "provider_vehicle_id": "860000000000017",
        "speed_kmh": 0, "speed_at": AT,
        "battery_percent": 78, "battery_at": AT,
        "range_m": 34_000, "range_at": AT,
        "odometer_m": 12_300, "odometer_at": AT,
        "locked": true, "locked_at": AT,
        "charging": false, "charging_at": AT,
        "online": true, "online_at": AT,
    })
}

fn invers_status() -> Value {
    let earlier = "2024-06-10T06:10:00+00:00";
    json!({
        "provider": "invers", "provider_vehicle_id": "AB1C2",
        "lat": 50.834, "lon": 8.0219, "altitude_m": 251.5, "position_at": "2024-06-10T06:13:18+00:00",
        "battery_percent": 85, "battery_at": earlier,
        "range_m": 312_500, "range_at": earlier,
        "odometer_m": 10_000_000, "odometer_at": earlier,
        "powered_on": false, "powered_on_at": AT,
        "locked": false, "locked_at": AT,
        "driving_enabled": true, "driving_enabled_at": AT,
    })
}

/// The vehicle's state after these fixtures.
async fn after(provider: &str, files: &[&str], vehicle: &str) -> Value {
    let scene = Scene::long_ago().await;
    scene.take_fixtures(provider, files).await;
    scene.vehicle(vehicle).await
}

#[tokio::test]
async fn niu_status_with_units_and_times() {
    let state = after("niu", &["n1s_single_battery.json"], "NBTESTN1S0000001").await;
    assert_eq!(state, niu_status());
}

#[tokio::test]
async fn niu_two_batteries() {
    let state = after("niu", &["dual_battery.json"], "NBTESTNGT0000002").await;
    assert_eq!(state["battery_percent"], 75.5);
    assert_eq!(state["speed_kmh"], 43.5);
}

#[tokio::test]
async fn niu_backlog_in_an_array() {
    let scene = Scene::long_ago().await;
    scene.take_fixtures("niu", &["backlog_array.json"]).await;
    let later = "2024-06-10T06:13:25.123+00:00";
    let names = ["speed", "battery", "range", "odometer", "powered_on", "locked", "charging", "online"];
    let times = names.map(|name| (format!("{name}_at"), Value::from(later)));
    let latest = with(&niu_status(), &Value::Object(times.into_iter().collect()));
    assert_eq!(scene.vehicle("NBTESTN1S0000001").await, with(&latest, &json!({ "powered_on": true })));
    assert_eq!(
        scene.vehicle("NBTESTN1S0000004").await,
        with(&niu_status(), &json!({ "provider_vehicle_id": "NBTESTN1S0000004" }))
    );
    let track: i64 = scene
        .value("SELECT count(*) FROM telemetry JOIN vehicles USING (vehicle_id) WHERE provider_vehicle_id = 'NBTESTN1S0000001'")
        .await;
    assert_eq!(track, 2, "telemetry has both reports");
    let dead: String =
        scene.value("SELECT reason || ' ' || event_index || ' ' || attempts FROM dead_letters").await;
    assert_eq!(dead, "missing_vehicle_id 3 1");
}

#[tokio::test]
async fn niu_unknown_type_is_stored_raw_only() {
    let scene = Scene::long_ago().await;
    scene.take_fixtures("niu", &["n1s_single_battery.json", "unknown_type.json"]).await;
    assert_eq!(scene.vehicle("NBTESTN1S0000001").await, niu_status());
    let raw: Value =
        scene.value("SELECT raw FROM telemetry WHERE kind = 'helmet_removed' AND lat IS NULL").await;
    assert_eq!(raw["helmet"], json!({ "present": false }));
}

#[tokio::test]
async fn niu_what_is_unknown_keeps_its_last_value() {
    let files = ["n1s_single_battery.json", "fortification_unknown.json", "missing_batteries.json"];
    assert_eq!(after("niu", &files, "NBTESTN1S0000001").await, niu_status());
}

#[tokio::test]
async fn niu_no_fix_is_no_position() {
    let state = after("niu", &["zero_zero.json"], "NBTESTN1S0000001").await;
    assert_eq!((&state["lat"], &state["position_at"]), (&Value::Null, &Value::Null));
    assert_eq!(state["battery_percent"], 68);
}

#[tokio::test]
async fn segway_status_then_location() {
    let scene = Scene::long_ago().await;
    scene.take_fixtures("segway", &["status_v2.form"]).await;
    assert_eq!(scene.vehicle("860000000000017").await, segway_status());
    scene.take_fixtures("segway", &["location.form"]).await;
    let position = json!({ "lat": 52.520008, "lon": 13.404954, "altitude_m": 34.1, "position_at": AT });
    let located = with(&segway_status(), &position);
    assert_eq!(scene.vehicle("860000000000017").await, located);
    let silent = ["location_zero_zero.form", "alert_1_illegal_movement.form", "fault.form"];
    scene.take_fixtures("segway", &silent).await;
    assert_eq!(scene.vehicle("860000000000017").await, located, "these events change no state");
    let rows: i64 = scene.value("SELECT count(*) FROM telemetry").await;
    assert_eq!(rows, 5, "telemetry has them");
}

#[tokio::test]
async fn segway_older_platforms_send_both_in_one() {
    let both = json!({
        "lat": 52.520008, "lon": 13.404954, "altitude_m": 34.1, "position_at": "2024-06-10T06:13:15+00:00",
        "speed_kmh": 18.5, "locked": false,
    });
    let state = after("segway", &["status_v1_with_location.form"], "860000000000017").await;
    assert_eq!(state, with(&segway_status(), &both));
}

#[tokio::test]
async fn segway_zero_zero_leaves_the_position_null() {
    let state = after("segway", &["location_zero_zero.form"], "860000000000017").await;
    assert_eq!(state, json!({ "provider": "segway", "provider_vehicle_id": "860000000000017" }));
}

#[tokio::test]
async fn invers_current() {
    let state = after("invers", &["current_envelope.json"], "AB1C2").await;
    assert_eq!(state, invers_status());
}

#[tokio::test]
async fn invers_previous() {
    let state = after("invers", &["messaging_envelope.json"], "AB1C2").await;
    let other = json!({ "battery_percent": 41.5, "battery_at": AT, "powered_on": true, "locked": true });
    assert_eq!(state, with(&invers_status(), &other));
}

#[tokio::test]
async fn invers_legacy() {
    let state = after("invers", &["legacy_event_status.json"], "0123456789ABCDEF").await;
    let expected = json!({
        "provider": "invers", "provider_vehicle_id": "0123456789ABCDEF",
        "lat": 50.834, "lon": 8.0219, "position_at": "2024-06-10T06:13:11+00:00",
        "speed_kmh": 3.5, "speed_at": AT,
        "battery_percent": 57, "battery_at": AT,
        "range_m": 212_000, "range_at": AT,
        "odometer_m": 20_480_500, "odometer_at": AT,
        "powered_on": false, "powered_on_at": AT,
        "locked": true, "locked_at": AT,
        "charging": true, "charging_at": AT,
        "driving_enabled": false, "driving_enabled_at": AT,
    });
    assert_eq!(state, expected);
}

#[tokio::test]
async fn invers_each_property_at_its_own_time() {
    // The position in the second event is weeks old. Everything else in it is as old as the first event.
    let files = ["current_envelope.json", "stale_position_in_fresh_event.json", "unknown_type.json"];
    assert_eq!(after("invers", &files, "AB1C2").await, invers_status());
}

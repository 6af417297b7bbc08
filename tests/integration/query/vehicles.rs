//! One vehicle: every column of its row, its entity tag, its end.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::fleet::{id, insert, set, vehicle, vehicle_at};
use super::rig::{Rig, Service};

/// A vehicle with a value in every column.
fn complete() -> Value {
    let mut made = vehicle("invers", "A/B é 1");
    let at = "2026-05-01T10:00:00.5Z";
    let values = json!({
        "lat": 52.5, "lon": 13.25, "altitude_m": 34.5, "heading_deg": 270.0, "accuracy_m": 4.5, "position_at": at,
        "speed_kmh": 12.5, "speed_at": at, "battery_percent": 55.5, "battery_at": at, "range_m": 40_000, "range_at": at,
        "odometer_m": 123_456, "odometer_at": at, "powered_on": true, "powered_on_at": at, "locked": false, "locked_at": at,
        "charging": false, "charging_at": at, "online": true, "online_at": at, "driving_enabled": true,
        "driving_enabled_at": at, "first_seen_at": at, "last_seen_at": "2026-05-01T10:00:02Z",
    });
    for (column, value) in values.as_object().unwrap() {
        set(&mut made, column, value.clone());
    }
    set(&mut made, "position_received_at", json!("2026-05-01T10:00:01.000003Z"));
    made
}

#[tokio::test]
async fn a_vehicle_has_every_column_of_its_row() {
    let row = complete();
    let rig = Rig::start(std::slice::from_ref(&row)).await;
    let body = rig.service.json(&format!("/v1/vehicles/{}", id(&row))).await;
    for (column, value) in row.as_object().unwrap() {
        match column.as_str() {
            "position_received_at" => assert_eq!(&body["received_at"], value),
            column => assert_eq!(&body[column], value, "{column}"),
        }
    }
    let position_at: Timestamp = "2026-05-01T10:00:00.5Z".parse().unwrap();
    let age = Timestamp::now().duration_since(position_at).as_secs_f64();
    assert!((body["position_age_s"].as_f64().unwrap() - age).abs() < 60.0, "{body}");
    assert_eq!(body["clock_skewed"], false);
    let by_name = rig.service.json("/v1/providers/invers/vehicles/A%2FB%20%C3%A9%201").await;
    assert_eq!(by_name["vehicle_id"], body["vehicle_id"]);
    let request =
        rig.service.request(&format!("/v1/vehicles/{}", id(&row))).header("accept", "application/geo+json");
    let feature = Service::send(request).await.json();
    assert_eq!(feature["geometry"], json!({ "type": "Point", "coordinates": [13.25, 52.5] }));
    assert_eq!(feature["properties"]["battery_percent"], 55.5);
}

#[tokio::test]
async fn a_wrong_clock_is_not_hidden() {
    let mut skewed = vehicle_at("skewed", 1.0, 2.0);
    let last_seen: Timestamp = skewed["last_seen_at"].as_str().unwrap().parse().unwrap();
    set(&mut skewed, "clock_skewed_at", json!((last_seen - SignedDuration::from_hours(1)).to_string()));
    let mut cured = vehicle_at("cured", 1.0, 2.0);
    set(&mut cured, "clock_skewed_at", json!((last_seen - SignedDuration::from_hours(48)).to_string()));
    let rig = Rig::start(&[skewed.clone(), cured.clone()]).await;
    for (row, is_skewed) in [(&skewed, true), (&cured, false)] {
        let body = rig.service.json(&format!("/v1/vehicles/{}", id(row))).await;
        assert_eq!(body["clock_skewed"], is_skewed, "{row}");
    }
}

#[tokio::test]
async fn an_entity_tag_lasts_as_long_as_the_state() {
    let mut row = vehicle_at("tagged", 1.0, 2.0);
    let rig = Rig::start(std::slice::from_ref(&row)).await;
    let path = format!("/v1/vehicles/{}", id(&row));
    let tag = rig.service.get(&path).await.header("etag").to_owned();
    let ask = async |tag: &str| Service::send(rig.service.request(&path).header("if-none-match", tag)).await;
    for known in [tag.as_str(), "\"other\", *", &format!("\"other\",{tag}")] {
        let answer = ask(known).await;
        assert_eq!(
            (answer.status, answer.text.as_str(), answer.header("etag")),
            (304, "", tag.as_str()),
            "{known}"
        );
    }
    let geo_json =
        rig.service.request(&path).header("accept", "application/geo+json").header("if-none-match", &tag);
    assert_eq!(Service::send(geo_json).await.status, 200, "another representation");
    set(&mut row, "locked", json!(true));
    set(&mut row, "locked_at", json!(Timestamp::now().to_string()));
    insert(&rig.client, &[row]).await;
    rig.service.fresh().await;
    let changed = ask(&tag).await;
    assert_eq!((changed.status, &changed.json()["locked"]), (200, &json!(true)));
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_deleted_vehicle_is_gone_also_if_another_one_comes_at_the_same_time() {
    let [old, kept, new] = ["old", "kept", "new"].map(|name| vehicle_at(name, 1.0, 2.0));
    let rig = Rig::start(&[old.clone(), kept.clone()]).await;
    rig.client.batch_execute("BEGIN").await.unwrap();
    rig.client.execute("DELETE FROM vehicles WHERE vehicle_id = $1", &[&id(&old)]).await.unwrap();
    insert(&rig.client, std::slice::from_ref(&new)).await;
    rig.client.batch_execute("COMMIT").await.unwrap();
    rig.service.fresh().await;
    let status = async |row: &Value| rig.service.get(&format!("/v1/vehicles/{}", id(row))).await.status;
    assert_eq!([status(&old).await, status(&kept).await, status(&new).await], [404, 200, 200]);
    let near = rig.service.json("/v1/vehicles?near=1,2&radius_m=10").await;
    assert_eq!(near["vehicles"].as_array().unwrap().len(), 2);
}

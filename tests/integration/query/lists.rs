//! Every condition on vehicles, compared with a search through all of them.

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fleet::{id, ids, random_fleet, set, vehicle_at};
use super::rig::{Rig, Service};

fn is_younger(vehicle: &Value, column: &str, most: SignedDuration) -> bool {
    let at = vehicle.get(column).and_then(Value::as_str);
    at.is_some_and(|at| Timestamp::now().duration_since(at.parse().unwrap()) <= most)
}

/// A condition of a query, and the same for a row.
type Condition = (String, Box<dyn Fn(&Value) -> bool>);

fn random_condition(rng: &mut Rng) -> Condition {
    let flag = rng.bool();
    let percent = f64::from(rng.u8(0..=100));
    let battery = |row: &Value| row.get("battery_percent").and_then(Value::as_f64);
    match rng.u8(0..8) {
        0 => {
            let provider = rng.choice(["niu", "segway,invers", "invers"].iter()).unwrap();
            let is_one = move |row: &Value| provider.split(',').any(|one| row["provider"] == one);
            (format!("provider={provider}"), Box::new(is_one))
        }
        1 => (
            format!("battery_lte={percent}"),
            Box::new(move |row| battery(row).is_some_and(|is| is <= percent)),
        ),
        2 => (
            format!("battery_gte={percent}"),
            Box::new(move |row| battery(row).is_some_and(|is| is >= percent)),
        ),
        3 => {
            let minutes = rng.i64(1..150);
            let most = SignedDuration::from_mins(minutes);
            (format!("seen_within={minutes}m"), Box::new(move |row| is_younger(row, "last_seen_at", most)))
        }
        4 => {
            let hours = rng.i64(1..3);
            let most = SignedDuration::from_hours(hours);
            (format!("position_within={hours}h"), Box::new(move |row| is_younger(row, "position_at", most)))
        }
        other => {
            let name = ["online", "locked", "powered_on", "charging"][usize::from(other) % 4];
            (format!("{name}={flag}"), Box::new(move |row| row.get(name) == Some(&json!(flag))))
        }
    }
}

#[tokio::test]
async fn a_list_has_the_vehicles_that_meet_every_condition() {
    let mut rng = Rng::with_seed(3);
    let fleet = random_fleet(1000, &mut rng);
    let rig = Rig::start(&fleet).await;
    for _ in 0..200 {
        let mut conditions: Vec<Condition> =
            (0..rng.usize(0..4)).map(|_| random_condition(&mut rng)).collect();
        conditions.sort_by(|one, other| one.0.cmp(&other.0));
        conditions.dedup_by(|one, other| one.0.split('=').next() == other.0.split('=').next());
        let query: Vec<_> = conditions.iter().map(|(text, _)| text.as_str()).collect();
        let path = format!("/v1/vehicles?limit=10000&{}", query.join("&"));
        let wanted = || {
            let met = fleet.iter().filter(|row| conditions.iter().all(|(_, is_met)| is_met(row)));
            let mut ids: Vec<Uuid> = met.map(id).collect();
            ids.sort();
            ids
        };
        // A vehicle may become too old between the two.
        let before = wanted();
        let found = ids(&rig.service.json(path.trim_end_matches('&')).await);
        assert!(found == before || found == wanted(), "{path}");
    }
}

#[tokio::test]
async fn vehicles_are_found_by_their_ids() {
    let fleet = random_fleet(20, &mut Rng::with_seed(4));
    let rig = Rig::start(&fleet).await;
    let (first, second) = (id(&fleet[3]), id(&fleet[7]));
    let path = format!("/v1/vehicles?ids={second},{first},{}", Uuid::nil());
    let mut wanted = vec![first, second];
    wanted.sort();
    assert_eq!(ids(&rig.service.json(&path).await), wanted);
}

#[tokio::test]
async fn a_list_is_json_or_geojson_and_may_be_compressed() {
    let mut placeless = vehicle_at("placeless", 0.0, 0.0);
    for column in ["lat", "lon", "position_at", "position_received_at"] {
        set(&mut placeless, column, Value::Null);
    }
    let fleet = [vehicle_at("city", 52.5, 13.25), placeless];
    let rig = Rig::start(&fleet).await;
    let list = rig.service.get("/v1/vehicles").await;
    assert_eq!(list.header("content-type"), "application/json");
    let list = list.json();
    assert!(
        list["as_of"].as_str().unwrap().ends_with('Z') && list["age_s"].as_f64().unwrap() >= 0.0,
        "{list}"
    );
    let request = rig.service.request("/v1/vehicles").header("accept", "application/geo+json");
    let features = Service::send(request).await;
    assert_eq!(features.header("content-type"), "application/geo+json");
    let features = features.json();
    assert_eq!(features["type"], "FeatureCollection");
    for feature in features["features"].as_array().unwrap() {
        assert_eq!(
            (&feature["type"], &feature["id"]),
            (&json!("Feature"), &feature["properties"]["vehicle_id"])
        );
        let point = json!({ "type": "Point", "coordinates": [13.25, 52.5] });
        let is_placed = feature["properties"]["provider_vehicle_id"] == "city";
        assert_eq!(feature["geometry"], if is_placed { point } else { Value::Null });
    }
    let zipped = rig.service.request("/v1/vehicles").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.bytes().await.unwrap()[..2], [0x1f, 0x8b], "the mark of gzip");
}

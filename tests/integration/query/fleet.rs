//! Vehicles of the tests: rows of `vehicles` as JSON, with the names of the columns.

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

/// A vehicle that has never reported anything.
pub(crate) fn vehicle(provider: &str, name: &str) -> Value {
    let now = Timestamp::now().to_string();
    let vehicle_id = fleet_providers::vehicle_id(provider, name);
    json!({
        "vehicle_id": vehicle_id, "provider": provider, "provider_vehicle_id": name,
        "first_seen_at": now, "last_seen_at": now,
    })
}

/// A vehicle at a place.
pub(crate) fn vehicle_at(name: &str, lat: f64, lon: f64) -> Value {
    let mut made = vehicle("niu", name);
    place(&mut made, lat, lon, Timestamp::now());
    made
}

/// Moves a vehicle.
pub(crate) fn place(vehicle: &mut Value, lat: f64, lon: f64, at: Timestamp) {
    set(vehicle, "lat", json!(lat));
    set(vehicle, "lon", json!(lon));
    set(vehicle, "position_at", json!(at.to_string()));
    set(vehicle, "position_received_at", json!(at.to_string()));
}

/// Sets a column.
pub(crate) fn set(vehicle: &mut Value, column: &str, value: Value) {
    vehicle.as_object_mut().unwrap().insert(column.to_owned(), value);
}

pub(crate) fn id(vehicle: &Value) -> Uuid {
    vehicle["vehicle_id"].as_str().unwrap().parse().unwrap()
}

/// Vehicles all over the earth, many of them at places where geometry is difficult. Some have no position.
pub(crate) fn random_fleet(count: usize, rng: &mut Rng) -> Vec<Value> {
    (0..count).map(|number| random_vehicle(number, rng)).collect()
}

fn random_vehicle(number: usize, rng: &mut Rng) -> Value {
    let provider = fleet_providers::PROVIDERS[number % 3].slug;
    let mut made = vehicle(provider, &format!("V{number}"));
    let ago = |rng: &mut Rng| Timestamp::now() - SignedDuration::from_secs(rng.i64(0..7200));
    let at = ago(rng);
    if rng.u8(0..20) > 0 {
        let (lat, lon) = random_place(rng);
        place(&mut made, lat, lon, at);
    }
    for name in ["online", "locked", "powered_on", "charging"] {
        if rng.u8(0..4) > 0 {
            set(&mut made, name, json!(rng.bool()));
            set(&mut made, &format!("{name}_at"), json!(at.to_string()));
        }
    }
    if rng.u8(0..4) > 0 {
        set(&mut made, "battery_percent", json!(f64::from(rng.u8(0..=100))));
        set(&mut made, "battery_at", json!(at.to_string()));
    }
    set(&mut made, "last_seen_at", json!(ago(rng).to_string()));
    made
}

/// A place in a city, at a pole, at the antimeridian, or anywhere.
pub(crate) fn random_place(rng: &mut Rng) -> (f64, f64) {
    let near = |rng: &mut Rng, centre: f64, most: f64| centre + (rng.f64() - 0.5) * 2.0 * most;
    match rng.u8(0..6) {
        0 => (near(rng, 52.5, 0.2), near(rng, 13.4, 0.3)),
        1 => (near(rng, 89.5, 0.5), near(rng, 0.0, 180.0)),
        2 => (near(rng, -89.9, 0.1), near(rng, 0.0, 180.0)),
        3 => (near(rng, -17.0, 3.0), wrapped(near(rng, 180.0, 3.0))),
        4 => {
            let lat = *rng.choice([-90.0, -45.0, 0.0, 0.01, 45.0, 90.0].iter()).unwrap();
            (lat, *rng.choice([-180.0, -0.01, 0.0, 90.0, 180.0].iter()).unwrap())
        }
        _ => (near(rng, 0.0, 90.0), near(rng, 0.0, 180.0)),
    }
}

fn wrapped(lon: f64) -> f64 {
    if lon > 180.0 { lon - 360.0 } else { lon }
}

/// Inserts rows, or replaces those that exist.
pub(crate) async fn insert(client: &Client, vehicles: &[Value]) {
    for some in vehicles.chunks(1000) {
        let rows = Value::Array(some.to_vec());
        let statement = "MERGE INTO vehicles v USING jsonb_populate_recordset(NULL::vehicles, $1) r \
                            ON v.vehicle_id = r.vehicle_id WHEN MATCHED THEN DELETE";
        client.execute(statement, &[&rows]).await.unwrap();
        let statement = "INSERT INTO vehicles SELECT * FROM jsonb_populate_recordset(NULL::vehicles, $1)";
        client.execute(statement, &[&rows]).await.unwrap();
    }
}

/// Updates the row of each vehicle.
pub(crate) async fn update(client: &Client, vehicle: &Value) {
    let statement = "UPDATE vehicles v SET (lat, lon, position_at, position_received_at, last_seen_at, locked, locked_at) = \
                       (SELECT r.lat, r.lon, r.position_at, r.position_received_at, r.last_seen_at, r.locked, r.locked_at \
                          FROM jsonb_populate_record(NULL::vehicles, $1) r) WHERE v.vehicle_id = $2";
    let updated = client.execute(statement, &[vehicle, &id(vehicle)]).await.unwrap();
    assert_eq!(updated, 1);
}

/// The ids of vehicles in a response, in its order.
pub(crate) fn ids(body: &Value) -> Vec<Uuid> {
    let vehicles = body["vehicles"].as_array().unwrap_or_else(|| panic!("{body}"));
    vehicles.iter().map(id).collect()
}

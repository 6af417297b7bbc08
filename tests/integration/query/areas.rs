//! Boxes and circles, compared with a search through all vehicles.

use std::collections::HashSet;

use fastrand::Rng;
use serde_json::Value;
use uuid::Uuid;

use super::fleet::{id, ids, random_fleet, random_place, vehicle_at};
use super::rig::Rig;

/// Metres.
const RADIUS: f64 = 6_371_008.8;

fn place(vehicle: &Value) -> Option<(f64, f64)> {
    Some((vehicle.get("lat")?.as_f64()?, vehicle.get("lon")?.as_f64()?))
}

/// The direction from the earth's centre.
fn direction((lat, lon): (f64, f64)) -> [f64; 3] {
    let (lat, lon) = (lat.to_radians(), lon.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

/// By another formula than the service's: the chord through the earth.
fn distance_m(one: (f64, f64), other: (f64, f64)) -> f64 {
    let pairs = direction(one).into_iter().zip(direction(other));
    let chord = pairs.map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt();
    2.0 * RADIUS * (chord / 2.0).min(1.0).asin()
}

#[tokio::test]
async fn a_box_has_the_vehicles_between_its_sides() {
    let mut rng = Rng::with_seed(1);
    let fleet = random_fleet(3000, &mut rng);
    let rig = Rig::start(&fleet).await;
    for _ in 0..150 {
        let ((south, west), (north, east)) = (random_place(&mut rng), random_place(&mut rng));
        let (south, north) = (south.min(north), south.max(north));
        let is_between =
            |lon: f64| if west <= east { lon >= west && lon <= east } else { lon >= west || lon <= east };
        let is_inside = |(lat, lon): (f64, f64)| {
            let is_antimeridian = lon == 180.0 || lon == -180.0;
            let fits = is_between(lon) || is_antimeridian && (is_between(180.0) || is_between(-180.0));
            fits && lat >= south && lat <= north
        };
        let inside = fleet.iter().filter(|vehicle| place(vehicle).is_some_and(is_inside));
        let mut wanted: Vec<Uuid> = inside.map(id).collect();
        wanted.sort();
        let path = format!("/v1/vehicles?bbox={west},{south},{east},{north}&limit=10000");
        let body = rig.service.json(&path).await;
        assert_eq!(ids(&body), wanted, "{path}");
        assert!(body["after"].is_null());
    }
}

/// Degrees east of the antimeridian are rounded when they are counted from the west.
#[tokio::test]
async fn a_box_across_the_antimeridian_has_the_vehicles_on_its_eastern_side() {
    let rig = Rig::start(&[vehicle_at("rim", 1.0, -27.95)]).await;
    let body = rig.service.json("/v1/vehicles?bbox=0,-90,-27.95,90").await;
    assert_eq!(ids(&body).len(), 1, "{body}");
}

#[tokio::test]
async fn a_circle_has_the_nearest_vehicles_first() {
    let mut rng = Rng::with_seed(2);
    let fleet = random_fleet(3000, &mut rng);
    let rig = Rig::start(&fleet).await;
    for round in 0..150 {
        let centre = random_place(&mut rng);
        let radius_m = [0.0, 500.0, 20_000.0, 400_000.0, 5_000_000.0, 20_015_115.0][round % 6] * rng.f64();
        let path = format!("/v1/vehicles?near={},{}&radius_m={radius_m}&limit=10000", centre.0, centre.1);
        let body = rig.service.json(&path).await;
        let found: HashSet<_> = ids(&body).into_iter().collect();
        assert_eq!(found.len(), body["vehicles"].as_array().unwrap().len(), "each once: {path}");
        for vehicle in &fleet {
            let distance = place(vehicle).map(|place| distance_m(centre, place));
            // The two formulas round differently.
            let rounding = 0.01 + radius_m * 1e-7;
            let is_found = found.contains(&id(vehicle));
            match distance {
                Some(distance) if distance < radius_m - rounding => assert!(is_found, "{path}: {vehicle}"),
                Some(distance) if distance <= radius_m + rounding => {}
                Some(_) | None => assert!(!is_found, "{path}: {vehicle}"),
            }
        }
        let distances: Vec<_> = body["vehicles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["distance_m"].as_f64().unwrap())
            .collect();
        assert!(distances.is_sorted(), "{distances:?}");
    }
}

#[tokio::test]
async fn the_rim_belongs_to_the_area() {
    let fleet =
        [vehicle_at("pole", 90.0, 12.0), vehicle_at("line", 10.0, 180.0), vehicle_at("city", 52.52, 13.405)];
    let [pole, line, city] = [id(&fleet[0]), id(&fleet[1]), id(&fleet[2])];
    let rig = Rig::start(&fleet).await;
    let found = async |query: &str| ids(&rig.service.json(&format!("/v1/vehicles?{query}")).await);
    assert_eq!(found("near=52.52,13.405&radius_m=0").await, [city]);
    assert_eq!(found("near=90,-100&radius_m=0.001").await, [pole]);
    assert_eq!(found("near=89.9,170&radius_m=11120").await, [pole], "0.1 degrees are 11,119.5 m");
    assert!(found("near=89.9,170&radius_m=11119").await.is_empty());
    assert_eq!(found("near=10,-179.99&radius_m=1100").await, [line], "across the antimeridian");
    assert_eq!(found("bbox=13.405,52.52,13.405,52.52").await, [city]);
    assert_eq!(found("bbox=-180,-90,-179,90").await, [line], "180 and -180 are one meridian");
    assert_eq!(found("bbox=179,0,-179,20").await, [line]);
    assert_eq!(found("near=0,0&radius_m=20015115").await.len(), 3);
}

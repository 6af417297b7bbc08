//! Vehicles for the query service: cities of the same size, whose vehicles move.

use crate::provider::{Status, niu_at};

/// Vehicles of a city.
pub(crate) const CITY_VEHICLES: u32 = 500;

/// A city is a box of about 4 by 4 km, degrees.
const HEIGHT: f64 = 0.036;
const WIDTH: f64 = 0.048;

/// Cities in a row from west to east, and the distance between the corners of two neighbours, degrees.
const COLUMNS: u32 = 20;
const BETWEEN: f64 = 0.5;

/// How far a vehicle moves, degrees: less than 50 m.
const MOVES: f64 = 0.0004;

/// How many cities so many vehicles have.
pub(crate) fn cities(vehicles: u32) -> u32 {
    (vehicles / CITY_VEHICLES).max(1)
}

/// A NIU vehicle in its city. Vehicles with consecutive numbers are in different cities.
pub(crate) fn body(status: Status, cities: u32) -> String {
    body_in(status.vehicle % cities, status)
}

/// A NIU vehicle in this city.
pub(crate) fn body_in(city: u32, status: Status) -> String {
    let (south, west) = corner(city);
    let [up, right] = [0, 1].map(|salt| unit(status.vehicle, salt));
    let seconds = u32::try_from(status.at_ms.rem_euclid(1_000_000) / 1_000).unwrap_or_default();
    let moved = MOVES * unit(status.vehicle.wrapping_add(seconds), 2);
    niu_at(status, south + up * HEIGHT + moved, west + right * WIDTH + moved)
}

/// The query for the vehicles of a city.
pub(crate) fn bbox(city: u32) -> String {
    let (south, west) = corner(city);
    let (north, east) = (south + HEIGHT + MOVES, west + WIDTH + MOVES);
    format!("bbox={west:.4},{south:.4},{east:.4},{north:.4}")
}

/// The query for the vehicles within 500 m of a point in a city, another point for each number.
pub(crate) fn near(city: u32, number: u32) -> String {
    let (south, west) = corner(city);
    let (lat, lon) = (south + unit(number, 3) * HEIGHT, west + unit(number, 4) * WIDTH);
    format!("near={lat:.5},{lon:.5}&radius_m=500")
}

/// The number of a vehicle in its id.
pub(crate) fn number(provider_vehicle_id: &str) -> Option<u32> {
    let digits = provider_vehicle_id.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().ok()
}

/// Latitude and longitude of the south-western corner.
fn corner(city: u32) -> (f64, f64) {
    (40.0 + f64::from(city / COLUMNS) * BETWEEN, 5.0 + f64::from(city % COLUMNS) * BETWEEN)
}

/// A number from 0 to 1 that looks random and is always the same.
fn unit(number: u32, salt: u64) -> f64 {
    let seed = (u64::from(number) << 8) | salt;
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;

    #[test]
    fn a_vehicle_moves_and_stays_in_its_city() {
        let position = |at_ms| {
            let body: serde_json::Value =
                serde_json::from_str(&body(Status { vehicle: 4_711, at_ms }, 20)).unwrap();
            (body["postion"]["lat"].as_f64().unwrap(), body["postion"]["lng"].as_f64().unwrap())
        };
        let query = bbox(4_711 % 20);
        let bounds: Vec<f64> =
            query.trim_start_matches("bbox=").split(',').map(|text| text.parse().unwrap()).collect();
        let seen: Vec<_> = (0..20).map(|second| position(1_718_000_000_000 + second * 1_000)).collect();
        assert!(seen.iter().all(|(lat, lon)| {
            (bounds[0]..=bounds[2]).contains(lon) && (bounds[1]..=bounds[3]).contains(lat)
        }));
        assert!(seen.iter().any(|place| *place != seen[0]));
        assert_eq!(number(&Provider::Niu.vehicle_id(4_711)), Some(4_711));
    }
}

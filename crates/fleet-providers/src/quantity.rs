//! What is possible: readings outside these ranges are noise, and absent.

use crate::Position;
use crate::fields::Fields;

/// Percent, 0 to 100.
pub(crate) fn percent(value: f64) -> Option<f64> {
    (0.0..=100.0).contains(&value).then_some(value)
}

/// Kilometres per hour, 0 to 400.
pub(crate) fn speed_kmh(value: f64) -> Option<f64> {
    (0.0..=400.0).contains(&value).then_some(value)
}

/// Whole metres of a distance in kilometres.
pub(crate) fn metres_from_km(value: f64) -> Option<i32> {
    metres(value * 1000.0)
}

/// Whole metres, not negative.
pub(crate) fn metres(value: f64) -> Option<i32> {
    let rounded = value.round();
    if value < 0.0 || !(0.0..=f64::from(i32::MAX)).contains(&rounded) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i32")]
    Some(rounded as i32)
}

/// The position of a pair of coordinates, with the altitude (metres), heading (degrees) and accuracy (metres)
/// that stand beside them.
///
/// 0/0 is what units send that have no fix, not a place where vehicles are shared.
pub(crate) fn position(fields: &Fields<'_>, lat: Option<f64>, lon: Option<f64>) -> Option<Position> {
    let lat = lat.filter(|lat| (-90.0..=90.0).contains(lat))?;
    let lon = lon.filter(|lon| (-180.0..=180.0).contains(lon))?;
    if lat == 0.0 && lon == 0.0 {
        return None;
    }
    Some(Position {
        lat,
        lon,
        altitude_m: fields.number("altitude"),
        heading_deg: fields.number("heading").filter(|degrees| (0.0..=360.0).contains(degrees)),
        accuracy_m: fields.number("accuracy").filter(|metres| *metres >= 0.0),
    })
}

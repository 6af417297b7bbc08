//! Range checks. Values outside these ranges are impossible and are dropped.

use crate::drop_reason::DropReason;

/// Any number.
pub(crate) fn any(value: f64) -> Result<f64, DropReason> {
    Ok(value)
}

/// Percent, 0 to 100.
pub(crate) fn percent(value: f64) -> Result<f64, DropReason> {
    within(value, 0.0, 100.0)
}

/// Kilometres per hour, 0 to 400.
pub(crate) fn speed_kmh(value: f64) -> Result<f64, DropReason> {
    within(value, 0.0, 400.0)
}

/// Degrees of latitude.
pub(crate) fn latitude(value: f64) -> Result<f64, DropReason> {
    within(value, -90.0, 90.0)
}

/// Degrees of longitude.
pub(crate) fn longitude(value: f64) -> Result<f64, DropReason> {
    within(value, -180.0, 180.0)
}

/// Degrees clockwise from north, 0 to 360.
pub(crate) fn heading_deg(value: f64) -> Result<f64, DropReason> {
    within(value, 0.0, 360.0)
}

/// Metres of uncertainty, not negative.
pub(crate) fn accuracy_m(value: f64) -> Result<f64, DropReason> {
    within(value, 0.0, f64::MAX)
}

/// Whole metres of a distance in kilometres.
pub(crate) fn metres_from_km(value: f64) -> Result<i32, DropReason> {
    metres(value * 1000.0)
}

/// Whole metres, not negative.
pub(crate) fn metres(value: f64) -> Result<i32, DropReason> {
    let rounded = value.round();
    if value < 0.0 || !(0.0..=f64::from(i32::MAX)).contains(&rounded) {
        return Err(DropReason::OutOfRange);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i32")]
    Ok(rounded as i32)
}

fn within(value: f64, least: f64, most: f64) -> Result<f64, DropReason> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(DropReason::OutOfRange) }
}

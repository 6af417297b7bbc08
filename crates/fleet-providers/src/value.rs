//! What the value of an attribute can be, and which of two values counts.

use std::cmp::Ordering;
use std::fmt::{self, Display};

use crate::drop_reason::DropReason;
use crate::micros::Micros;

/// A value, the time at which it was true, and the time at which its message was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed<T> {
    /// The value.
    pub value: T,
    /// When it was observed.
    pub at: Micros,
    /// When it was received. Of two values with the same time, the one that was received later counts.
    pub received_at: Micros,
}

/// A fix, in the datum that the provider sends: WGS-84, except that NIU's servers in mainland China send GCJ-02.
///
/// All numbers are finite, and never negative zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Degrees, -90 to 90.
    pub lat: f64,
    /// Degrees, -180 to 180.
    pub lon: f64,
    /// Metres above the ellipsoid or above sea level. Providers do not say which.
    pub altitude_m: Option<f64>,
    /// Degrees clockwise from north, 0 to 360.
    pub heading_deg: Option<f64>,
    /// Radius of uncertainty, metres.
    pub accuracy_m: Option<f64>,
}

impl Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lat, lon, altitude_m, heading_deg, accuracy_m } = self;
        write!(formatter, "{lat}, {lon}")?;
        for (name, value) in [("altitude", altitude_m), ("heading", heading_deg), ("accuracy", accuracy_m)] {
            if let Some(value) = value {
                write!(formatter, ", {name} {value}")?;
            }
        }
        Ok(())
    }
}

/// The value of an attribute.
pub(crate) trait Value: Copy + Display {
    /// The reasons for which such a value can be dropped.
    const LOSSES: &'static [DropReason];

    /// A total order, the same as that of the database's upsert.
    fn order(&self, other: &Self) -> Ordering;
}

impl Value for f64 {
    const LOSSES: &'static [DropReason] = NUMBER_LOSSES;

    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

impl Value for i32 {
    const LOSSES: &'static [DropReason] = NUMBER_LOSSES;

    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Value for bool {
    const LOSSES: &'static [DropReason] =
        &[DropReason::NotUnderstood, DropReason::TimeNotUnderstood, DropReason::TimeImplausible];

    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Value for Position {
    const LOSSES: &'static [DropReason] = &[
        DropReason::NotUnderstood,
        DropReason::OutOfRange,
        DropReason::NoFix,
        DropReason::TimeNotUnderstood,
        DropReason::TimeImplausible,
    ];

    /// By lat, lon, altitude, heading and accuracy. An absent one is less than any number.
    fn order(&self, other: &Self) -> Ordering {
        let key = |position: &Self| {
            let rest = [position.altitude_m, position.heading_deg, position.accuracy_m];
            let [altitude_m, heading_deg, accuracy_m] = rest.map(|value| value.unwrap_or(f64::NEG_INFINITY));
            [position.lat, position.lon, altitude_m, heading_deg, accuracy_m]
        };
        let pairs = key(self).into_iter().zip(key(other));
        pairs.fold(Ordering::Equal, |order, (left, right)| order.then_with(|| left.total_cmp(&right)))
    }
}

const NUMBER_LOSSES: &[DropReason] = &[
    DropReason::NotUnderstood,
    DropReason::OutOfRange,
    DropReason::TimeNotUnderstood,
    DropReason::TimeImplausible,
];

/// Keeps the greater of two values by (time, receipt, value).
pub(crate) fn keep_greatest<T: Value>(kept: &mut Option<Timed<T>>, other: Option<Timed<T>>) {
    let Some(other) = other else { return };
    let is_greater = kept.as_ref().is_none_or(|kept| {
        let order = (kept.at, kept.received_at).cmp(&(other.at, other.received_at));
        order.then_with(|| kept.value.order(&other.value)).is_lt()
    });
    if is_greater {
        *kept = Some(other);
    }
}

/// The value as text, with its times.
pub(crate) fn text<T: Value>(timed: Timed<T>) -> Timed<String> {
    let Timed { value, at, received_at } = timed;
    Timed { value: value.to_string(), at, received_at }
}

//! Times of attributes.

use std::fmt::{self, Debug, Display};

use jiff::{SignedDuration, Timestamp};

/// Microseconds since 1970-01-01T00:00:00Z, the precision of PostgreSQL's `timestamptz`. An event has up to ten attributes with
/// two times each, and a batch thousands of events: this type has half the size of a [`Timestamp`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(i64);

impl Micros {
    /// The first time of the calendar.
    pub const MIN: Self = Self(-377_705_023_201_000_000);

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn since_1970(self) -> i64 {
        self.0
    }
}

/// Truncates to microseconds.
impl From<Timestamp> for Micros {
    fn from(time: Timestamp) -> Self {
        Self(time.as_microsecond())
    }
}

impl From<Micros> for Timestamp {
    fn from(micros: Micros) -> Self {
        // `Timestamp::from_microsecond` refuses the fractions of the calendar's last second.
        let time = Timestamp::from_duration(SignedDuration::from_micros(micros.0));
        // Every value comes from a timestamp, so it is in the calendar.
        time.unwrap_or(if micros.0 < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}

impl Debug for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl Display for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&Timestamp::from(*self), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_every_microsecond_of_the_calendar() {
        for text in ["-009999-01-02T01:59:59Z", "1969-12-31T23:59:59.999999Z", "9999-12-30T22:00:00.999999Z"]
        {
            let time: Timestamp = text.parse().expect("a time");
            assert_eq!(Timestamp::from(Micros::from(time)), time, "{text}");
        }
        assert_eq!(Micros::from(Timestamp::MIN), Micros::MIN);
    }
}

//! A simple model: what each vehicle's row must contain, computed from the acknowledged reports only.

use std::cmp::Ordering;

/// A position as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// Metres.
    pub altitude_m: Option<f64>,
    /// Degrees clockwise from north.
    pub heading_deg: Option<f64>,
    /// Metres.
    pub accuracy_m: Option<f64>,
}

impl Fix {
    /// Compares latitude, longitude, altitude, heading and accuracy, in this order. An absent value is the
    /// lowest.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |fix: &Self| {
            let optional = [fix.altitude_m, fix.heading_deg, fix.accuracy_m];
            let [altitude, heading, accuracy] = optional.map(|value| value.unwrap_or(f64::NEG_INFINITY));
            [fix.lat, fix.lon, altitude, heading, accuracy]
        };
        let (own, others) = (key(self), key(other));
        let pairs = own.iter().zip(&others);
        pairs.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// One attribute's value, in the database's units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// The position.
    Position(Fix),
    /// km/h.
    SpeedKmh(f64),
    /// Percent.
    BatteryPercent(f64),
    /// Metres.
    RangeM(i32),
    /// Metres.
    OdometerM(i32),
    /// Whether the electronics are on.
    PoweredOn(bool),
    /// Whether it is locked.
    Locked(bool),
    /// Whether it is charging.
    Charging(bool),
    /// Whether it is connected to its provider.
    Online(bool),
    /// The immobiliser lets it be driven.
    DrivingEnabled(bool),
}

/// An observation and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Epoch ms, as sent.
    pub at_ms: i64,
    /// The value.
    pub what: Observation,
}

/// When a value was observed, then when the API received it. Compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Epoch ms, as the vehicle's row must contain it.
    pub at_ms: i64,
    /// Epoch µs: the API's milliseconds, then the event's position in its request.
    pub received_us: i64,
}

/// The greatest (moment, value) of an attribute, or `None` if it was never sent.
pub type Latest<T> = Option<(Moment, T)>;

/// The expected content of a vehicle's row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// The position.
    pub position: Latest<Fix>,
    /// km/h.
    pub speed_kmh: Latest<f64>,
    /// Percent.
    pub battery_percent: Latest<f64>,
    /// Metres.
    pub range_m: Latest<i32>,
    /// Metres.
    pub odometer_m: Latest<i32>,
    /// Whether the electronics are on.
    pub powered_on: Latest<bool>,
    /// Whether it is locked.
    pub locked: Latest<bool>,
    /// Whether it is charging.
    pub charging: Latest<bool>,
    /// Whether it is connected to its provider.
    pub online: Latest<bool>,
    /// The immobiliser lets it be driven.
    pub driving_enabled: Latest<bool>,
}

impl Expected {
    /// Applies one acknowledged observation. The latest time wins. For equal times, the one received last
    /// wins. If both are equal, the greater value wins, and true is greater than false.
    pub fn take(&mut self, at: Moment, what: Observation) {
        match what {
            Observation::Position(fix) => keep_greatest(&mut self.position, at, fix, Fix::order),
            Observation::SpeedKmh(value) => keep_greatest(&mut self.speed_kmh, at, value, f64::total_cmp),
            Observation::BatteryPercent(value) => {
                keep_greatest(&mut self.battery_percent, at, value, f64::total_cmp);
            }
            Observation::RangeM(value) => keep_greatest(&mut self.range_m, at, value, i32::cmp),
            Observation::OdometerM(value) => keep_greatest(&mut self.odometer_m, at, value, i32::cmp),
            Observation::PoweredOn(value) => keep_greatest(&mut self.powered_on, at, value, bool::cmp),
            Observation::Locked(value) => keep_greatest(&mut self.locked, at, value, bool::cmp),
            Observation::Charging(value) => keep_greatest(&mut self.charging, at, value, bool::cmp),
            Observation::Online(value) => keep_greatest(&mut self.online, at, value, bool::cmp),
            Observation::DrivingEnabled(value) => {
                keep_greatest(&mut self.driving_enabled, at, value, bool::cmp);
            }
        }
    }
}

fn keep_greatest<T: Copy>(slot: &mut Latest<T>, at: Moment, value: T, order: fn(&T, &T) -> Ordering) {
    let greater =
        slot.is_none_or(|(kept_at, kept)| at.cmp(&kept_at).then_with(|| order(&value, &kept)).is_gt());
    if greater {
        *slot = Some((at, value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Received = (Moment, Observation);

    fn fix(lat: f64, altitude_m: Option<f64>) -> Fix {
        Fix { lat, lon: 13.0, altitude_m, heading_deg: None, accuracy_m: None }
    }

    fn at(at_ms: i64, received_us: i64) -> Moment {
        Moment { at_ms, received_us }
    }

    fn fold(all: &[Received]) -> Expected {
        let mut expected = Expected::default();
        all.iter().for_each(|(at, what)| expected.take(*at, *what));
        expected
    }

    #[test]
    fn a_later_time_wins_and_an_older_one_does_not() {
        let first = (at(10, 5), Observation::BatteryPercent(80.0));
        let later = (at(11, 4), Observation::BatteryPercent(20.0));
        assert_eq!(fold(&[first, later]).battery_percent, Some((at(11, 4), 20.0)));
        assert_eq!(fold(&[later, first]).battery_percent, Some((at(11, 4), 20.0)));
    }

    #[test]
    fn at_equal_times_the_later_receipt_wins() {
        let locked = |received_us, value| (at(10, received_us), Observation::Locked(value));
        for first in [true, false] {
            let both = [locked(1, first), locked(2, !first)];
            assert_eq!(fold(&both).locked, Some((at(10, 2), !first)));
            assert_eq!(fold(&[both[1], both[0], both[1]]).locked, Some((at(10, 2), !first)));
        }
    }

    #[test]
    fn at_equal_times_and_receipts_true_and_the_greater_number_win() {
        let locked = |value| (at(10, 0), Observation::Locked(value));
        assert_eq!(fold(&[locked(true), locked(false)]).locked, Some((at(10, 0), true)));
        let odometer = |value| (at(10, 0), Observation::OdometerM(value));
        assert_eq!(fold(&[odometer(7), odometer(9), odometer(8)]).odometer_m, Some((at(10, 0), 9)));
        let position = |fix| (at(10, 0), Observation::Position(fix));
        let low = fix(52.0, Some(-40.0));
        assert_eq!(fold(&[position(low), position(fix(52.0, None))]).position, Some((at(10, 0), low)));
        let north = fix(52.1, None);
        assert_eq!(fold(&[position(north), position(low)]).position, Some((at(10, 0), north)));
    }

    fn any_received() -> impl Strategy<Value = Received> {
        let what = prop_oneof![
            (0..3_i32, proptest::option::of(0..3_i32))
                .prop_map(|(lat, alt)| Observation::Position(fix(f64::from(lat), alt.map(f64::from)))),
            (0..3_i32).prop_map(|value| Observation::SpeedKmh(f64::from(value))),
            (0..3_i32).prop_map(|value| Observation::BatteryPercent(f64::from(value))),
            (0..3_i32).prop_map(Observation::RangeM),
            (0..3_i32).prop_map(Observation::OdometerM),
            any::<bool>().prop_map(Observation::PoweredOn),
            any::<bool>().prop_map(Observation::Locked),
            any::<bool>().prop_map(Observation::Charging),
            any::<bool>().prop_map(Observation::Online),
            any::<bool>().prop_map(Observation::DrivingEnabled),
        ];
        (0..3_i64, 0..3_i64, what).prop_map(|(at_ms, received_us, what)| (at(at_ms, received_us), what))
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            (all, shuffled) in proptest::collection::vec(any_received(), 0..30)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let twice: Vec<Received> = shuffled.iter().chain(&all).copied().collect();
            prop_assert_eq!(fold(&all), fold(&shuffled));
            prop_assert_eq!(fold(&all), fold(&twice));
        }

        #[test]
        fn the_kept_odometer_is_the_last_of_the_sorted_triples(
            mut triples in proptest::collection::vec((0..4_i64, 0..4_i64, 0..4_i32), 1..20),
        ) {
            let all: Vec<Received> = triples
                .iter()
                .map(|&(at_ms, received_us, value)| (at(at_ms, received_us), Observation::OdometerM(value)))
                .collect();
            triples.sort_unstable();
            let last = triples.last().map(|&(at_ms, received_us, value)| (at(at_ms, received_us), value));
            prop_assert_eq!(fold(&all).odometer_m, last);
        }
    }
}

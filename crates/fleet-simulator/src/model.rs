//! The naive model: what each vehicle's row must say, from the acknowledged reports alone.

use std::cmp::Ordering;

/// A position as sent.
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
    /// Compares lat, lon, altitude, heading, accuracy, in this order; an absent one is the lowest.
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
    /// Where it is.
    Position(Fix),
    /// km/h.
    SpeedKmh(f64),
    /// Percent.
    BatteryPercent(f64),
    /// Metres.
    RangeM(i32),
    /// Metres.
    OdometerM(i32),
    /// Electronics on.
    PoweredOn(bool),
    /// Locked.
    Locked(bool),
    /// Charging.
    Charging(bool),
    /// Connected to its provider.
    Online(bool),
}

/// An observation and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Epoch milliseconds, as sent.
    pub at_ms: i64,
    /// What was seen.
    pub what: Observation,
}

/// The greatest (time, value) of one attribute; `None` if it was never sent.
pub type Latest<T> = Option<(i64, T)>;

/// What a vehicle's row must say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Where it is.
    pub position: Latest<Fix>,
    /// km/h.
    pub speed_kmh: Latest<f64>,
    /// Percent.
    pub battery_percent: Latest<f64>,
    /// Metres.
    pub range_m: Latest<i32>,
    /// Metres.
    pub odometer_m: Latest<i32>,
    /// Electronics on.
    pub powered_on: Latest<bool>,
    /// Locked.
    pub locked: Latest<bool>,
    /// Charging.
    pub charging: Latest<bool>,
    /// Connected to its provider.
    pub online: Latest<bool>,
}

impl Expected {
    /// Counts one acknowledged observation in: the greater (time, value) stays, true above false.
    pub fn take(&mut self, seen: &Seen) {
        let at = seen.at_ms;
        match seen.what {
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
        }
    }
}

fn keep_greatest<T: Copy>(slot: &mut Latest<T>, at: i64, value: T, order: fn(&T, &T) -> Ordering) {
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

    fn fix(lat: f64, altitude_m: Option<f64>) -> Fix {
        Fix { lat, lon: 13.0, altitude_m, heading_deg: None, accuracy_m: None }
    }

    fn fold(all: &[Seen]) -> Expected {
        let mut expected = Expected::default();
        all.iter().for_each(|seen| expected.take(seen));
        expected
    }

    #[test]
    fn a_later_time_wins_and_an_older_one_does_not() {
        let first = Seen { at_ms: 10, what: Observation::BatteryPercent(80.0) };
        let later = Seen { at_ms: 11, what: Observation::BatteryPercent(20.0) };
        assert_eq!(fold(&[first, later]).battery_percent, Some((11, 20.0)));
        assert_eq!(fold(&[later, first]).battery_percent, Some((11, 20.0)));
    }

    #[test]
    fn at_equal_times_true_and_the_greater_number_win() {
        let locked = |value| Seen { at_ms: 10, what: Observation::Locked(value) };
        assert_eq!(fold(&[locked(true), locked(false)]).locked, Some((10, true)));
        let odometer = |value| Seen { at_ms: 10, what: Observation::OdometerM(value) };
        assert_eq!(fold(&[odometer(7), odometer(9), odometer(8)]).odometer_m, Some((10, 9)));
    }

    #[test]
    fn an_absent_altitude_is_below_any_other() {
        let at = |fix| Seen { at_ms: 10, what: Observation::Position(fix) };
        let low = fix(52.0, Some(-40.0));
        assert_eq!(fold(&[at(low), at(fix(52.0, None))]).position, Some((10, low)));
        let north = fix(52.1, None);
        assert_eq!(fold(&[at(north), at(low)]).position, Some((10, north)));
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
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
        ];
        (0..3_i64, what).prop_map(|(at_ms, what)| Seen { at_ms, what })
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            (all, shuffled) in proptest::collection::vec(any_seen(), 0..30)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let twice: Vec<Seen> = shuffled.iter().chain(&all).copied().collect();
            prop_assert_eq!(fold(&all), fold(&shuffled));
            prop_assert_eq!(fold(&all), fold(&twice));
        }

        #[test]
        fn the_kept_odometer_is_the_last_of_the_sorted_pairs(
            mut pairs in proptest::collection::vec((0..4_i64, 0..4_i32), 1..20),
        ) {
            let all: Vec<Seen> =
                pairs.iter().map(|&(at_ms, value)| Seen { at_ms, what: Observation::OdometerM(value) }).collect();
            pairs.sort_unstable();
            prop_assert_eq!(fold(&all).odometer_m, pairs.last().copied());
        }
    }
}

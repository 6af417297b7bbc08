//! The reports, and the values in them. The generator records the values, so that no parser is needed to know them.

use std::collections::BTreeMap;

use fleet_queue::Envelope;
use jiff::Timestamp;
use uuid::Uuid;

/// 2024-06-03T00:00:00Z.
const START_MS: i64 = 1_717_372_800_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Every 20 minutes for a week.
const SLOTS: i64 = 7 * 24 * 3;
const VEHICLES: usize = 3;

/// A report as it is in the queue.
pub(super) struct Report {
    pub(super) provider: &'static str,
    pub(super) item: Vec<u8>,
}

/// The latitude, the charge and the lock: each as (time, time of receipt, value).
type Newest = [(i64, i64, f64); 3];

pub(super) struct Week {
    pub(super) reports: Vec<Report>,
    /// How many of the reports are too old to be stored.
    pub(super) too_old: usize,
    newest: BTreeMap<(&'static str, String), Newest>,
}

/// The state of the vehicle's clock in one report.
#[derive(Clone, Copy)]
enum Clock {
    Right,
    /// Right, but in seconds.
    Seconds,
    /// A day ahead.
    Ahead,
    /// Right, but the report arrives after the retention period.
    Old,
    /// At its factory setting.
    Lost,
    /// No time is sent.
    Silent,
    /// Only the position's time is a day ahead.
    FixAhead,
    /// Only the position's time is in 1999.
    FixOld,
}

/// A report before it is formatted.
struct Draft<'a> {
    vehicle: &'a str,
    /// The written times of the event and of the position. None if not sent.
    times: Option<(Written, Written)>,
    lat: f64,
    charge: i32,
    locked: bool,
    number: usize,
}

/// A Unix time as it is written.
#[derive(Clone, Copy)]
enum Written {
    Milliseconds(i64),
    Seconds(i64),
}

impl Written {
    fn number(self) -> String {
        match self {
            Self::Milliseconds(ms) => ms.to_string(),
            Self::Seconds(seconds) => seconds.to_string(),
        }
    }

    fn iso(self) -> String {
        match self {
            Self::Milliseconds(ms) => format!("\"{}\"", Timestamp::from_millisecond(ms).unwrap()),
            Self::Seconds(_) => self.number(),
        }
    }
}

impl Week {
    pub(super) fn generate(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut week = Self { reports: Vec::new(), too_old: 0, newest: BTreeMap::new() };
        for slot in 0..SLOTS {
            for provider in ["niu", "segway", "invers"] {
                for vehicle in 0..VEHICLES {
                    week.report(provider, vehicle, slot, &mut rng);
                    // Sometimes another report has the very same time.
                    if rng.u8(0..20) == 0 {
                        week.report(provider, vehicle, slot, &mut rng);
                    }
                }
            }
        }
        week
    }

    pub(super) fn vehicles(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.newest.keys().cloned()
    }

    /// The final values of a vehicle.
    pub(super) fn newest(&self, provider: &'static str, vehicle: &str) -> Newest {
        self.newest[&(provider, vehicle.to_owned())]
    }

    fn report(&mut self, provider: &'static str, vehicle: usize, slot: i64, rng: &mut fastrand::Rng) {
        let name = format!("WEEK{vehicle}");
        let at_ms = START_MS + slot * 20 * MINUTE_MS;
        let delay_ms = if rng.u8(0..10) == 0 { rng.i64(0..DAY_MS / 2) } else { rng.i64(0..5_000) };
        let received_ms = at_ms + delay_ms;
        let clock = match rng.u8(0..100) {
            0..70 => Clock::Right,
            70..80 => Clock::Seconds,
            80..85 => Clock::Ahead,
            85 => Clock::Old,
            86 => Clock::Lost,
            87..92 => Clock::Silent,
            92..96 => Clock::FixAhead,
            _ => Clock::FixOld,
        };
        let fix_ms = at_ms - rng.i64(0..3) * 10 * MINUTE_MS;
        let ms = Written::Milliseconds;
        let right = (ms(at_ms), ms(fix_ms));
        let (old_ms, lost_ms) = (at_ms - 200 * DAY_MS, 930_000_000_000);
        // The written times, and the times that the parser must derive from them.
        let (times, event_ms, fix_ms) = match clock {
            Clock::Right => (Some(right), Some(at_ms), fix_ms),
            Clock::Seconds => {
                (Some((Written::Seconds(at_ms / 1000), Written::Seconds(fix_ms / 1000))), Some(at_ms), fix_ms)
            }
            Clock::Ahead => {
                (Some((ms(received_ms + DAY_MS), ms(received_ms + DAY_MS))), Some(received_ms), received_ms)
            }
            Clock::Old => (Some((ms(old_ms), ms(old_ms))), None, old_ms),
            Clock::Lost => (Some((ms(lost_ms), ms(lost_ms))), Some(received_ms), received_ms),
            Clock::Silent => (None, Some(received_ms), received_ms),
            Clock::FixAhead => (Some((right.0, ms(received_ms + DAY_MS))), Some(at_ms), at_ms),
            Clock::FixOld => (Some((right.0, ms(lost_ms))), Some(at_ms), at_ms),
        };
        let (thousandths, charge, locked) = (rng.i32(1..1_000), rng.i32(0..=100), rng.bool());
        let lat = 52.0 + f64::from(thousandths) / 1_000.0;
        let draft = Draft { vehicle: &name, times, lat, charge, locked, number: self.reports.len() };
        let item = draft.item(provider, received_ms, rng);
        self.reports.push(Report { provider, item });
        let Some(event_ms) = event_ms else {
            self.too_old += 1;
            return;
        };
        let said: Newest = [
            (fix_ms, received_ms, lat),
            (event_ms, received_ms, f64::from(charge)),
            (event_ms, received_ms, f64::from(u8::from(locked))),
        ];
        let newest = self.newest.entry((provider, name)).or_insert(said);
        for (newest, said) in newest.iter_mut().zip(said) {
            if said > *newest {
                *newest = said;
            }
        }
    }
}

impl Draft<'_> {
    fn item(&self, provider: &str, received_ms: i64, rng: &mut fastrand::Rng) -> Vec<u8> {
        let (body, topic, content_type) = match provider {
            "niu" => (self.niu(), "", "application/json"),
            "segway" => (self.segway(), "vehicle/status", "application/x-www-form-urlencoded"),
            _ => (self.invers(), "", "application/json"),
        };
        let envelope = Envelope {
            message_id: Uuid::from_u128(rng.u128(..)),
            received_at: Timestamp::from_millisecond(received_ms).unwrap(),
            topic,
            content_type: Some(content_type),
            traceparent: None,
            body: body.as_bytes(),
        };
        envelope.encode()
    }

    fn niu(&self) -> String {
        let times = self.times.map_or_else(String::new, |(event, fix)| {
            format!(r#""infoTimestamp":{},"gpsTimestamp":{},"#, event.number(), fix.number())
        });
        format!(
            r#"{{"sn":"{}","type":"status",{times}"postion":{{"lat":{},"lng":13.4}},"isFortificationOn":{},"batteries":{{"compartmentA":{{"isConnected":true,"batteryCharging":{}}}}},"trace":{}}}"#,
            self.vehicle,
            self.lat,
            u8::from(self.locked),
            self.charge,
            self.number
        )
    }

    fn segway(&self) -> String {
        let times = self.times.map_or_else(String::new, |(event, fix)| {
            format!("&statusUtcTime={}&gpsUtcTime={}", event.number(), fix.number())
        });
        format!(
            "iotCode={}&latitude={}&longitude=13.4&locked={}&powerPercent={}{times}&trace={}",
            self.vehicle, self.lat, self.locked, self.charge, self.number
        )
    }

    fn invers(&self) -> String {
        let times = self.times.map_or_else(<(String, String)>::default, |(event, fix)| {
            (format!(r#","occurred_at":{}"#, event.iso()), format!(r#""timestamp":{},"#, fix.iso()))
        });
        format!(
            r#"{{"metadata":{{"id":"E{}","type":"VehicleStateRecorded"{}}},"data":{{"vehicle_id":"{}","vehicle_state":{{"position":{{{}"value":{{"lat":{},"lon":13.4}}}},"central_lock":{{"value":"{}"}},"state_of_charge_or_fuel_level_in_percent":{{"value":{}}}}}}}}}"#,
            self.number,
            times.0,
            self.vehicle,
            times.1,
            self.lat,
            if self.locked { "LOCKED" } else { "UNLOCKED" },
            self.charge
        )
    }
}

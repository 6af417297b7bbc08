//! A vehicle that is driven around a city.

use fastrand::Rng;

/// Who the vehicle reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// E-mopeds; JSON.
    Niu,
    /// Kick-scooters; signed forms.
    Segway,
    /// Cars; JSON, every property at its own time.
    Invers,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Niu, Self::Segway, Self::Invers];

    /// The provider's name in URLs, Redis keys and tables.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Niu => "niu",
            Self::Segway => "segway",
            Self::Invers => "invers",
        }
    }
}

/// What is special about a vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its clock is right.
    Ordinary,
    /// Its clock is an hour ahead, or has lost its date and is 1,024 weeks behind, as satellite receivers are that count
    /// weeks in ten bits. The API's time of receipt replaces every time it sends.
    Skewed,
    /// Only ever reported with wrong credentials: it must not exist.
    Ghost,
}

/// How far ahead a skewed vehicle's clock is, ms; well over the tolerated five minutes.
const SKEW_MS: i64 = 3_600_000;
/// How far behind the clock of every other skewed vehicle is, ms.
const ROLLOVER_MS: i64 = 1_024 * 7 * 24 * 3_600_000;

impl Role {
    /// What the clock of the vehicle with this variant says at `now_ms`, epoch ms.
    fn clock_ms(self, variant: u8, now_ms: i64) -> i64 {
        match self {
            Self::Ordinary | Self::Ghost => now_ms,
            Self::Skewed if variant.is_multiple_of(2) => now_ms - ROLLOVER_MS,
            Self::Skewed => now_ms + SKEW_MS,
        }
    }
}

/// A vehicle's true state now.
#[derive(Clone, Debug)]
pub struct Vehicle {
    /// Its place in the fleet.
    pub index: usize,
    /// Who it reports to.
    pub provider: Provider,
    /// The provider's name for it.
    pub id: String,
    /// What is special about it.
    pub role: Role,
    /// A constant of the vehicle that chooses between the format's variants, such as one battery or two.
    pub variant: u8,
    /// Reports so far.
    pub reports: u32,
    /// The number of the last report among all of the run; it goes into the report's bytes.
    pub sequence: u64,
    /// Latitude, millionths of a degree.
    pub lat_e6: i32,
    /// Longitude, millionths of a degree.
    pub lon_e6: i32,
    /// Tenths of a metre.
    pub altitude_dm: i32,
    /// km/h.
    pub speed_kmh: i32,
    /// Percent of each battery.
    pub batteries: [i32; 2],
    /// Metres.
    pub odometer_m: i32,
    /// Electronics on.
    pub powered_on: bool,
    /// Locked.
    pub locked: bool,
    /// Charging.
    pub charging: bool,
    /// Connected to its provider.
    pub online: bool,
    /// The immobiliser lets it be driven.
    pub driving_enabled: bool,
    /// Time of the state, epoch ms; strictly rising.
    pub state_ms: i64,
    /// Time of the last fix, epoch ms; it can lag behind.
    pub fix_ms: i64,
    /// Whether the vehicle knows where it is; without a fix it sends 0/0.
    pub has_fix: bool,
}

impl Vehicle {
    /// A parked vehicle somewhere in the city; its clock starts at `start_ms`, epoch ms.
    pub fn new(
        index: usize,
        provider: Provider,
        id: String,
        role: Role,
        start_ms: i64,
        rng: &mut Rng,
    ) -> Self {
        let variant = rng.u8(..);
        Self {
            index,
            provider,
            id,
            role,
            variant,
            reports: 0,
            sequence: 0,
            lat_e6: 52_520_008 + rng.i32(-60_000..60_000),
            lon_e6: 13_404_954 + rng.i32(-90_000..90_000),
            altitude_dm: rng.i32(300..1_200),
            speed_kmh: 0,
            batteries: [rng.i32(30..=100), rng.i32(30..=100)],
            odometer_m: rng.i32(10_000..20_000_000),
            powered_on: false,
            locked: true,
            charging: false,
            online: true,
            driving_enabled: false,
            state_ms: role.clock_ms(variant, start_ms),
            fix_ms: role.clock_ms(variant, start_ms),
            has_fix: true,
        }
    }

    /// Lets time pass until `now_ms`, epoch ms (at least one millisecond), and the vehicle live.
    pub fn step(&mut self, now_ms: i64, rng: &mut Rng) {
        self.state_ms = self.role.clock_ms(self.variant, now_ms).max(self.state_ms + 1);
        self.live(rng);
    }

    /// Changes the state without letting time pass: the next report contradicts the last one at the same time.
    pub fn contradict(&mut self, rng: &mut Rng) {
        self.live(rng);
        self.locked = !self.locked;
        // Never the same text twice: a report at the same time with the same text would be a resend.
        self.odometer_m += 10;
        self.lat_e6 += 1;
    }

    fn live(&mut self, rng: &mut Rng) {
        self.reports = self.reports.wrapping_add(1);
        if rng.u8(..20) == 0 {
            self.powered_on = !self.powered_on;
            self.locked = !self.powered_on;
            self.charging = !self.powered_on && rng.bool();
            // A rental may begin before the ignition is on, and go on after it is off.
            self.driving_enabled = self.powered_on || rng.bool();
        }
        if rng.u8(..50) == 0 {
            self.online = !self.online;
        }
        self.has_fix = rng.u8(..50) != 0;
        if self.powered_on {
            self.speed_kmh = rng.i32(0..=45);
            self.lat_e6 += rng.i32(-250..=250);
            self.lon_e6 += rng.i32(-400..=400);
            self.altitude_dm += rng.i32(-3..=3);
            self.odometer_m += rng.i32(10..=60);
        } else {
            self.speed_kmh = 0;
        }
        for battery in &mut self.batteries {
            let change = if self.charging { rng.i32(0..=1) } else { -i32::from(rng.u8(..30) == 0) };
            *battery = (*battery + change).clamp(0, 100);
        }
        // In every fourth report the time of the fix lags behind the rest.
        if rng.u8(..4) != 0 {
            self.fix_ms = self.state_ms - i64::from(rng.u8(..200));
        }
    }

    /// Degrees.
    pub fn lat(&self) -> f64 {
        f64::from(self.lat_e6) / 1e6
    }

    /// Degrees.
    pub fn lon(&self) -> f64 {
        f64::from(self.lon_e6) / 1e6
    }

    /// Remaining range in whole kilometres: half a kilometre per percent of the first battery.
    pub fn range_km(&self) -> i32 {
        self.batteries[0] / 2
    }
}

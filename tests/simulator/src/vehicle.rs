//! A vehicle that moves around a city.

use fastrand::Rng;

/// The provider that the vehicle reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// E-mopeds; JSON.
    Niu,
    /// Cars; JSON, every property with its own time.
    Segway,
    /// Cars; JSON, every property at its own time.
    Invers,
}

impl Provider {
    /// All providers.
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

/// The special property of a vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its clock is right.
    Ordinary,
    /// Its clock is one hour ahead or 1,024 weeks behind, as in a satellite receiver that counts weeks in ten
    /// bits. The API replaces every time it sends by the time of receipt.
    Skewed,
    /// Only ever reported with wrong credentials, so it must have no row.
    Ghost,
}

/// How far a skewed vehicle's clock is ahead, ms. Well above the tolerated five minutes.
const SKEW_MS: i64 = 3_600_000;
/// How far the clock of every other skewed vehicle is behind, ms.
const ROLLOVER_MS: i64 = 1_024 * 7 * 24 * 3_600_000;

impl Role {
    /// The time, epoch ms, on the clock of the vehicle with this variant at `now_ms`.
    fn clock_ms(self, variant: u8, now_ms: i64) -> i64 {
        match self {
            Self::Ordinary | Self::Ghost => now_ms,
            Self::Skewed if variant.is_multiple_of(2) => now_ms - ROLLOVER_MS,
            Self::Skewed => now_ms + SKEW_MS,
        }
    }
}

/// A vehicle's true state.
#[derive(Clone, Debug)]
pub struct Vehicle {
    /// Its index in the fleet.
    pub index: usize,
    /// The provider that it reports to.
    pub provider: Provider,
    /// The provider's name for it.
    pub id: String,
    /// Its special property.
    pub role: Role,
    /// A constant that selects variants of the format, such as one battery or two.
    pub variant: u8,
    /// The number of reports so far.
    pub reports: u32,
    /// The number of the last report, unique in the run. It is part of the report's bytes.
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
    /// Whether the electronics are on.
    pub powered_on: bool,
    /// Whether it is locked.
    pub locked: bool,
    /// Whether it is charging.
    pub charging: bool,
    /// Whether it is connected to its provider.
    pub online: bool,
    /// Whether the immobiliser lets it be driven.
    pub driving_enabled: bool,
    /// The time of the state, epoch ms. Strictly increasing.
    pub state_ms: i64,
    /// The time of the last position fix, epoch ms. It may be older than the state.
    pub fix_ms: i64,
    /// Whether the vehicle knows its position. Without a fix it sends 0/0.
    pub has_fix: bool,
}

impl Vehicle {
    /// A parked vehicle somewhere in the city. Its clock starts at `start_ms`, epoch ms.
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

    /// Gives the vehicle a clock that is right and starts at `start_ms`, epoch ms. A ghost remains one.
    pub fn set_clock_right(&mut self, start_ms: i64) {
        if self.role == Role::Skewed {
            self.role = Role::Ordinary;
        }
        (self.state_ms, self.fix_ms) = (start_ms, start_ms);
    }

    /// Advances the time to `now_ms`, epoch ms (by at least one millisecond), and changes the state.
    pub fn step(&mut self, now_ms: i64, rng: &mut Rng) {
        self.state_ms = self.role.clock_ms(self.variant, now_ms).max(self.state_ms + 1);
        self.live(rng);
    }

    /// Changes the state but not the time, so that the next report contradicts the last one.
    pub fn contradict(&mut self, rng: &mut Rng) {
        self.live(rng);
        self.locked = !self.locked;
        // The text must differ, because a report with the same time and text would be a resend.
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
        // In every fourth report the position fix is older than the rest.
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

    /// The remaining range in whole kilometres: half a kilometre for each percent of the first battery.
    pub fn range_km(&self) -> i32 {
        self.batteries[0] / 2
    }
}

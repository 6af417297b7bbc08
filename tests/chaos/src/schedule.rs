//! The schedule of faults: a pure function of the seed.

use std::time::Duration;

/// The number of consumers that run concurrently.
pub(super) const CONSUMERS: usize = 2;

/// The shortest and the longest pause between two faults, ms. Every kind is injected at least five times a
/// minute.
const GAP_MS: (u64, u64) = (300, 900);

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    KillApi,
    KillConsumer,
    KillRedis,
    StopPostgres,
    FreezeConsumer,
    FreezeConsumers,
    FreezeRedis,
    RollConsumer,
    CutConnections,
    BlackHole,
    FillRedis,
    ReadOnlyPostgres,
    WrongPassword,
    CloseConnections,
    FailOver,
    UnwritableLogs,
    DatabaseAway,
}

/// Where vehicle state and telemetry are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Databases {
    /// In one database, as shipped.
    One,
    /// On two servers, one of which may be unavailable alone.
    Two,
}

/// A resource that only one fault at a time may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Redis,
    Postgres,
    Consumers,
}

impl Kind {
    /// The kinds of faults that are injected with these databases.
    pub(super) fn all(databases: Databases) -> Vec<Self> {
        match databases {
            Databases::One => Self::ALWAYS.to_vec(),
            Databases::Two => Self::ALWAYS.into_iter().chain([Self::DatabaseAway]).collect(),
        }
    }

    const ALWAYS: [Self; 16] = [
        Self::KillApi,
        Self::KillConsumer,
        Self::KillRedis,
        Self::StopPostgres,
        Self::FreezeConsumer,
        Self::FreezeConsumers,
        Self::FreezeRedis,
        Self::RollConsumer,
        Self::CutConnections,
        Self::BlackHole,
        Self::FillRedis,
        Self::ReadOnlyPostgres,
        Self::WrongPassword,
        Self::CloseConnections,
        Self::FailOver,
        Self::UnwritableLogs,
    ];

    /// The name in the printed table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::KillApi => "kill -9 of the API",
            Self::KillConsumer => "kill -9 of a consumer",
            Self::KillRedis => "kill -9 of Redis",
            Self::StopPostgres => "immediate stop of PostgreSQL",
            Self::FreezeConsumer => "consumer frozen past its lease",
            Self::FreezeConsumers => "all consumers frozen: a backlog",
            Self::FreezeRedis => "Redis frozen",
            Self::RollConsumer => "rolling restart of a consumer",
            Self::CutConnections => "all connections cut",
            Self::BlackHole => "connections to a server swallow everything",
            Self::FillRedis => "Redis at maxmemory",
            Self::ReadOnlyPostgres => "PostgreSQL read-only",
            Self::WrongPassword => "PostgreSQL password changed, put right later",
            Self::CloseConnections => "every connection closed by Redis",
            Self::FailOver => "failover of Redis behind one address",
            Self::UnwritableLogs => "API and a consumer whose logs take nothing",
            Self::DatabaseAway => "one of two databases away",
        }
    }

    /// The shortest and the longest duration, ms. A killed process is replaced at once.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::KillApi
            | Self::KillConsumer
            | Self::KillRedis
            | Self::RollConsumer
            | Self::CutConnections
            | Self::CloseConnections
            | Self::FailOver => (0, 0),
            Self::StopPostgres | Self::ReadOnlyPostgres | Self::WrongPassword => (300, 1_500),
            // Longer than the lease of 2 s.
            Self::FreezeConsumer | Self::DatabaseAway => (2_500, 4_000),
            Self::UnwritableLogs => (800, 1_500),
            Self::FreezeConsumers => (1_000, 1_800),
            Self::FreezeRedis | Self::FillRedis => (300, 1_000),
            // Around the timeouts: 1 s for a call to Redis, 3 s for a statement.
            Self::BlackHole => (500, 4_000),
        }
    }

    /// The resource that the fault uses until it ends.
    pub(super) fn holds(self) -> Option<Held> {
        match self {
            Self::KillRedis
            | Self::FreezeRedis
            | Self::FillRedis
            | Self::FailOver
            | Self::CloseConnections => Some(Held::Redis),
            Self::StopPostgres | Self::ReadOnlyPostgres | Self::WrongPassword | Self::DatabaseAway => {
                Some(Held::Postgres)
            }
            Self::FreezeConsumer | Self::FreezeConsumers | Self::RollConsumer | Self::UnwritableLogs => {
                Some(Held::Consumers)
            }
            Self::KillApi | Self::KillConsumer | Self::CutConnections | Self::BlackHole => None,
        }
    }

    /// Whether Redis cannot accept webhooks while this fault hits `target`. During all other faults Redis is
    /// available, and no webhook may get a 503.
    pub(super) fn takes_redis_away(self, target: usize) -> bool {
        match self {
            Self::KillRedis | Self::FreezeRedis | Self::FillRedis => true,
            Self::BlackHole => target == 0,
            Self::KillApi
            | Self::KillConsumer
            | Self::StopPostgres
            | Self::FreezeConsumer
            | Self::FreezeConsumers
            | Self::RollConsumer
            | Self::CutConnections
            | Self::ReadOnlyPostgres
            | Self::WrongPassword
            | Self::CloseConnections
            | Self::FailOver
            | Self::UnwritableLogs
            | Self::DatabaseAway => false,
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// When it begins, counted from the first accepted webhook.
    pub(super) at: Duration,
    pub(super) kind: Kind,
    /// Its duration.
    pub(super) lasts: Duration,
    /// Which one it hits: the index of a consumer or of a database, or for a black hole Redis (0) or the
    /// state's PostgreSQL (1).
    pub(super) target: usize,
}

/// The faults of a run: all kinds in random order, again and again.
pub(super) fn faults(seed: u64, run_for: Duration, databases: Databases) -> Vec<Fault> {
    let mut random = Random(seed);
    let (mut faults, mut at) = (Vec::new(), Duration::ZERO);
    loop {
        let mut kinds = Kind::all(databases);
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, random.index(last + 1));
        }
        for kind in kinds {
            at += random.millis(GAP_MS);
            let fault =
                Fault { at, kind, lasts: random.millis(kind.lasts_ms()), target: random.index(CONSUMERS) };
            if at >= run_for {
                return faults;
            }
            faults.push(fault);
        }
    }
}

/// `SplitMix64`. Its output never changes, so a seed from an old log still repeats its run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn index(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap_or(1).max(1);
        usize::try_from(self.next() % below).unwrap_or(0)
    }

    fn millis(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(least + self.next() % (most - least + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CONSUMERS, Databases, Kind};

    fn faults(seed: u64, run_for: Duration) -> Vec<super::Fault> {
        super::faults(seed, run_for, Databases::Two)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_schedule_is_a_pure_function_of_the_seed() {
        assert_eq!(faults(7, MINUTE), faults(7, MINUTE));
        assert_ne!(faults(7, MINUTE), faults(8, MINUTE));
        let (short, long) = (faults(7, MINUTE / 2), faults(7, MINUTE));
        assert_eq!(short, long[..short.len()]);
    }

    #[test]
    fn a_minute_contains_every_kind_five_times_and_a_quarter_once() {
        for seed in 0..2_000 {
            for (run_for, least) in [(MINUTE, 5), (MINUTE / 4, 1)] {
                let faults = faults(seed, run_for);
                for kind in Kind::all(Databases::Two) {
                    let count = faults.iter().filter(|fault| fault.kind == kind).count();
                    assert!(count >= least, "seed {seed}: {count} times {kind:?}");
                }
            }
        }
    }

    #[test]
    fn faults_are_apart_and_last_as_their_kind_says() {
        for seed in 0..200 {
            let mut last = Duration::ZERO;
            for fault in faults(seed, MINUTE) {
                let gap = fault.at - last;
                assert!((300..=900).contains(&gap.as_millis()), "seed {seed}: {gap:?}");
                let (least, most) = fault.kind.lasts_ms();
                assert!((least..=most).contains(&u64::try_from(fault.lasts.as_millis()).unwrap()));
                assert!(fault.target < CONSUMERS && fault.at < MINUTE);
                last = fault.at;
            }
        }
    }
}

//! The schedule of faults: a pure function of the seed.

use std::time::Duration;

use crate::kind::Kind;
use crate::layout::{Layout, StageName};

/// The number of consumers that run concurrently.
pub(super) const CONSUMERS: usize = 2;

/// The shortest and the longest pause between two faults, ms. Without replicas, every kind is injected at least
/// five times a minute.
const GAP_MS: (u64, u64) = (280, 840);

/// The same with a broker, which takes seconds to start again. Every kind is injected at least five times in two minutes,
/// although the faults of the broker wait for each other.
const BROKER_GAP_MS: (u64, u64) = (420, 1_170);

/// The same with replicas, where each fault of Redis stops the pushes until a replica follows the primary again.
const REPLICATED_GAP_MS: (u64, u64) = (1_900, 3_400);

/// The shortest and the longest pause between the losses of two machines, ms.
const LOSS_GAP_MS: (u64, u64) = (9_200, 10_800);

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

/// The faults of a run: all usual kinds in random order, again and again, and the losses between them.
pub(super) fn faults(seed: u64, run_for: Duration, layout: Layout) -> Vec<Fault> {
    let mut faults = usual(&mut Random(seed), run_for, layout);
    // Seeds of their own, so that the losses do not change the other faults.
    faults.extend(losses(&mut Random(!seed), run_for, layout));
    // Stable, so the order of equal times is a function of the seed too.
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn usual(random: &mut Random, run_for: Duration, layout: Layout) -> Vec<Fault> {
    let (mut faults, mut at) = (Vec::new(), Duration::ZERO);
    let gap_ms = match layout.stage {
        StageName::Single => GAP_MS,
        StageName::Amqp => BROKER_GAP_MS,
        StageName::Failover | StageName::Cluster => REPLICATED_GAP_MS,
    };
    loop {
        let mut kinds = Kind::usual(layout);
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, random.index(last + 1));
        }
        for kind in kinds {
            at += random.millis(gap_ms);
            let fault = random.fault(at, kind);
            if at >= run_for {
                return faults;
            }
            faults.push(fault);
        }
    }
}

fn losses(random: &mut Random, run_for: Duration, layout: Layout) -> Vec<Fault> {
    let (mut faults, mut at) = (Vec::new(), Duration::ZERO);
    for &kind in Kind::losses(layout).iter().cycle() {
        at += random.millis(LOSS_GAP_MS);
        if at >= run_for {
            break;
        }
        faults.push(random.fault(at, kind));
    }
    faults
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

    fn fault(&mut self, at: Duration, kind: Kind) -> Fault {
        Fault { at, kind, lasts: self.millis(kind.lasts_ms()), target: self.index(CONSUMERS) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CONSUMERS, GAP_MS};
    use crate::kind::Kind;
    use crate::layout::{Databases, Layout, StageName};

    const LAYOUT: Layout = Layout { stage: StageName::Single, databases: Databases::Two };
    const BROKER: Layout = Layout { stage: StageName::Amqp, databases: Databases::One };
    const REPLICATED: Layout = Layout { stage: StageName::Failover, databases: Databases::One };

    fn faults(seed: u64, run_for: Duration) -> Vec<super::Fault> {
        super::faults(seed, run_for, LAYOUT)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_schedule_is_a_pure_function_of_the_seed() {
        for layout in [LAYOUT, BROKER, REPLICATED] {
            let faults = |seed, run_for| super::faults(seed, run_for, layout);
            assert_eq!(faults(7, MINUTE), faults(7, MINUTE));
            assert_ne!(faults(7, MINUTE), faults(8, MINUTE));
            let (short, long) = (faults(7, MINUTE / 2), faults(7, MINUTE));
            assert_eq!(short, long[..short.len()]);
        }
    }

    #[test]
    fn a_minute_contains_every_kind_five_times_and_a_quarter_once() {
        for seed in 0..2_000 {
            for (run_for, least) in [(MINUTE, 5), (MINUTE / 4, 1)] {
                let faults = faults(seed, run_for);
                for kind in Kind::usual(LAYOUT) {
                    let count = faults.iter().filter(|fault| fault.kind == kind).count();
                    assert!(count >= least, "seed {seed}: {count} times {kind:?}");
                }
            }
        }
    }

    #[test]
    fn with_a_broker_two_minutes_contain_every_kind_five_times_and_a_quarter_once() {
        for seed in 0..2_000 {
            for (run_for, least) in [(MINUTE * 2, 5), (MINUTE / 2, 1)] {
                let faults = super::faults(seed, run_for, BROKER);
                for kind in Kind::usual(BROKER) {
                    let count = faults.iter().filter(|fault| fault.kind == kind).count();
                    assert!(count >= least, "seed {seed}: {count} times {kind:?}");
                }
            }
        }
    }

    #[test]
    fn two_minutes_lose_five_machines_of_each_sort_and_25_seconds_one() {
        for seed in 0..2_000 {
            for (run_for, least) in [(MINUTE * 2, 5), (MINUTE * 5 / 12, 1)] {
                let faults = super::faults(seed, run_for, REPLICATED);
                let count =
                    |kinds: &[Kind]| faults.iter().filter(|fault| kinds.contains(&fault.kind)).count();
                let redis = count(&[Kind::LoseRedis, Kind::LoseCutOffRedis]);
                let postgres = count(&[Kind::LosePostgres]);
                assert!(redis >= least && postgres >= least, "seed {seed}: {redis} and {postgres}");
            }
        }
    }

    #[test]
    fn faults_are_apart_and_last_as_their_kind_says() {
        for seed in 0..200 {
            let mut last = Duration::ZERO;
            for fault in faults(seed, MINUTE) {
                let gap = u64::try_from((fault.at - last).as_millis()).unwrap();
                assert!((GAP_MS.0..=GAP_MS.1).contains(&gap), "seed {seed}: {gap} ms");
                let (least, most) = fault.kind.lasts_ms();
                assert!((least..=most).contains(&u64::try_from(fault.lasts.as_millis()).unwrap()));
                assert!(fault.target < CONSUMERS && fault.at < MINUTE);
                last = fault.at;
            }
        }
    }
}

//! Which queue: the only one of a provider, or one of its shards.

use std::fmt;

use crate::keys::QueueKeys;

/// Most shards of one provider.
pub const MAX_SHARDS: u8 = 64;

/// A provider's only queue (`niu`), or one of its shards (`niu.0`). As text, it is the hash tag of the queue's keys and the
/// value of the metrics' label `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue {
    provider: &'static str,
    shard: Option<u8>,
}

impl Queue {
    /// The queue of a provider without shards.
    pub const fn unsharded(provider: &'static str) -> Self {
        Self { provider, shard: None }
    }

    /// One shard of a provider; the first one has the number 0.
    pub const fn shard(provider: &'static str, number: u8) -> Self {
        Self { provider, shard: Some(number) }
    }

    /// The queues of a provider with so many shards. One shard is the queue without shards.
    pub fn all(provider: &'static str, shards: u8) -> impl Iterator<Item = Self> + Clone {
        let numbers = if shards > 1 { 0..shards } else { 0..0 };
        let only = (shards <= 1).then_some(Self::unsharded(provider));
        only.into_iter().chain(numbers.map(move |number| Self::shard(provider, number)))
    }

    /// Reads a queue's name. `None` if it is not a queue of one of these providers.
    pub fn parse(name: &str, providers: impl IntoIterator<Item = &'static str>) -> Option<Self> {
        providers.into_iter().find_map(|provider| {
            let rest = name.strip_prefix(provider)?;
            if rest.is_empty() {
                return Some(Self::unsharded(provider));
            }
            let number = rest.strip_prefix('.')?.parse().ok().filter(|number| *number < MAX_SHARDS)?;
            let queue = Self::shard(provider, number);
            // `niu.07` and `niu.+7` are no names of `niu.7`.
            (queue.to_string() == name).then_some(queue)
        })
    }

    /// The slug of the provider.
    pub fn provider(self) -> &'static str {
        self.provider
    }

    /// The shard's number. `None`: the queue of a provider without shards.
    pub fn number(self) -> Option<u8> {
        self.shard
    }

    /// Its keys under `prefix`.
    pub fn keys(self, prefix: &str) -> QueueKeys {
        QueueKeys::new(prefix, self)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, shard } = self;
        match shard {
            None => formatter.write_str(provider),
            Some(number) => write!(formatter, "{provider}.{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDERS: [&str; 3] = ["niu", "segway", "invers"];
    /// Slots of Redis Cluster.
    const SLOTS: u16 = 16_384;

    fn names(shards: u8) -> Vec<String> {
        Queue::all("niu", shards).map(|queue| queue.to_string()).collect()
    }

    #[test]
    fn one_shard_has_the_name_of_the_provider() {
        assert_eq!(names(1), ["niu"]);
        assert_eq!(names(3), ["niu.0", "niu.1", "niu.2"]);
        assert_eq!(Queue::shard("niu", 12).keys("fleet").ledger, "fleet:{niu.12}:ledger");
        assert_eq!(Queue::unsharded("niu").keys("fleet").ledger, "fleet:{niu}:ledger");
    }

    #[test]
    fn every_name_is_read_back_and_no_other() {
        let every = PROVIDERS.into_iter().flat_map(|provider| {
            [1, MAX_SHARDS].into_iter().flat_map(move |shards| Queue::all(provider, shards))
        });
        for queue in every {
            assert_eq!(Queue::parse(&queue.to_string(), PROVIDERS), Some(queue));
        }
        for other in
            ["", "niu.", "niu.64", "niu.07", "niu.+7", "niu.-1", "niu.1.2", "nius", "tier", "niu.999"]
        {
            assert_eq!(Queue::parse(other, PROVIDERS), None, "{other}");
        }
    }

    /// The slot of a hash tag: CRC16 (XMODEM) modulo 16,384, as the specification of Redis Cluster says.
    fn slot(tag: &str) -> u16 {
        let crc = tag.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _bit| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        });
        crc % SLOTS
    }

    /// How many of a provider's shards each of so many primaries has, if each has an equal range of slots.
    fn spread(provider: &'static str, shards: u8, primaries: u16) -> Vec<usize> {
        let mut spread = vec![0; usize::from(primaries)];
        for queue in Queue::all(provider, shards) {
            let primary = u32::from(slot(&queue.to_string())) * u32::from(primaries) / u32::from(SLOTS);
            spread[usize::try_from(primary).unwrap()] += 1;
        }
        spread
    }

    #[test]
    fn slots() {
        assert_eq!(slot("123456789"), 12_739, "the example of the specification");
    }

    #[test]
    fn shards_have_different_slots() {
        for provider in PROVIDERS {
            let mut slots: Vec<_> =
                Queue::all(provider, MAX_SHARDS).map(|queue| slot(&queue.to_string())).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), usize::from(MAX_SHARDS), "{provider}");
        }
    }

    /// docs/operations.md has these figures. The number after the dot moves the slot by a few thousand, so few shards spread
    /// well. More than four have neighbours.
    #[test]
    fn shards_spread_over_three_primaries() {
        for provider in PROVIDERS {
            assert!(spread(provider, 2, 3).into_iter().all(|shards| shards <= 1), "{provider}");
            assert_eq!(spread(provider, 3, 3), [1, 1, 1], "{provider}");
            assert_eq!(spread(provider, 4, 4), [1, 1, 1, 1], "{provider}, four primaries");
            assert!(spread(provider, 4, 3).into_iter().all(|shards| (1..=2).contains(&shards)), "{provider}");
            assert!(spread(provider, 6, 3).into_iter().all(|shards| (1..=3).contains(&shards)), "{provider}");
            assert!(
                spread(provider, 12, 3).into_iter().all(|shards| (2..=5).contains(&shards)),
                "{provider}"
            );
        }
    }
}

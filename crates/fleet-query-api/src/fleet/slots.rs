//! Small numbers for vehicles, and sets of them: a bit for each vehicle, so that a stream can have such a set.

/// The number of a vehicle in memory. After the end of the vehicle, another one may get it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The slot at this index.
    pub(crate) fn new(index: usize) -> Self {
        // More vehicles do not fit into memory.
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Where the slot is in a list of all slots.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Bits in a word.
const BITS: usize = 64;

/// Some vehicles: 12.5 KB for every 100,000 vehicles of the fleet.
#[derive(Debug, Default)]
pub(crate) struct SlotSet(Vec<u64>);

impl SlotSet {
    /// Adds a vehicle.
    pub(crate) fn insert(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        if word >= self.0.len() {
            // Without a reserve, which would be as large as the set.
            self.0.reserve_exact(word + 1 - self.0.len());
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Removes a vehicle. Says whether it was there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        let Some(word) = self.0.get_mut(word) else { return false };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// How many vehicles there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| usize::try_from(word.count_ones()).unwrap_or_default()).sum()
    }

    /// The first vehicle at `index` or behind it.
    pub(crate) fn next(&self, index: usize) -> Option<Slot> {
        let (first, bit) = (index / BITS, index % BITS);
        self.0.iter().enumerate().skip(first).find_map(|(number, word)| {
            let word = if number == first { word & (u64::MAX << bit) } else { *word };
            let offset = usize::try_from(word.trailing_zeros()).unwrap_or(BITS);
            (word != 0).then(|| Slot::new(number * BITS + offset))
        })
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (slot.index() / BITS, 1 << (slot.index() % BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted() {
        let mut set = SlotSet::default();
        assert_eq!((set.next(0), set.len()), (None, 0));
        let wanted = [0, 1, 63, 64, 200, 99_999];
        wanted.iter().rev().for_each(|index| set.insert(Slot::new(*index)));
        let (mut found, mut index) = (Vec::new(), 0);
        while let Some(slot) = set.next(index) {
            found.push(slot.index());
            index = slot.index() + 1;
        }
        assert_eq!((found.as_slice(), set.len()), (&wanted[..], wanted.len()));
        assert!(set.remove(Slot::new(64)) && !set.remove(Slot::new(64)) && !set.remove(Slot::new(1 << 30)));
        assert_eq!(set.next(64), Some(Slot::new(200)));
    }

    /// A stream has at most two sets. The shipped limit of memory is 768 MiB.
    #[test]
    fn the_sets_of_a_thousand_streams_need_25_megabytes() {
        let mut set = SlotSet::default();
        (0..100_000).for_each(|index| set.insert(Slot::new(index)));
        assert!(set.0.capacity() * size_of::<u64>() * 2 * 1000 <= 26 << 20, "{}", set.0.capacity());
    }
}

//! What the service knows: the fleet, how old that is, and the latest changes.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::fleet::{Change, Fleet};
use crate::remembered::Remembered;

/// Shared by the task that reads the table and by all requests. Nobody holds its lock while waiting for anything else.
#[derive(Debug)]
pub(crate) struct Knowledge {
    known: RwLock<Known>,
    /// The number of the last tick, which wakes the streams.
    ticks: watch::Sender<u64>,
    /// Distinguishes the numbers of this process from those of others.
    instance: u64,
    started: Instant,
}

/// All that is known at one moment.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) fleet: Fleet,
    pub(crate) remembered: Remembered,
    pub(crate) read: Option<Read>,
}

/// When the table was last read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) as_of: Timestamp,
    at: Instant,
}

impl Read {
    /// The moment before a read.
    pub(crate) fn now() -> Self {
        Self { as_of: Timestamp::now(), at: Instant::now() }
    }

    /// The same for a database that is this far behind.
    pub(crate) fn behind(self, behind: Duration) -> Self {
        let as_of =
            SignedDuration::try_from(behind).ok().and_then(|behind| self.as_of.checked_sub(behind).ok());
        Self { as_of: as_of.unwrap_or(self.as_of), at: self.at.checked_sub(behind).unwrap_or(self.at) }
    }

    /// The later one of two.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.at > self.at { other } else { self }
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

impl Knowledge {
    pub(crate) fn new(max_changes: usize, instance: u64) -> Self {
        let known = Known { fleet: Fleet::default(), remembered: Remembered::new(max_changes), read: None };
        Self { known: RwLock::new(known), ticks: watch::Sender::new(0), instance, started: Instant::now() }
    }

    /// What is known now.
    pub(crate) fn get(&self) -> RwLockReadGuard<'_, Known> {
        // A panic while the lock is held ends the process: see `server`.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last read, if there was one.
    pub(crate) fn read(&self) -> Option<Read> {
        self.get().read
    }

    /// The age of what is known; before the first read, the time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.read().map_or_else(|| self.started.elapsed(), |read| read.age())
    }

    /// Distinguishes the numbers of ticks of this process.
    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    /// Wakes up after each tick.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Changes the fleet, as seen by `read`, which is complete then. Returns how many changes there are.
    pub(crate) fn update(&self, read: Read, change: impl FnOnce(&mut Fleet) -> Vec<Change>) -> usize {
        self.change(read, true, change)
    }

    /// The same for a part of what `read` sees. What is known does not become younger.
    pub(crate) fn update_part(&self, read: Read, change: impl FnOnce(&mut Fleet) -> Vec<Change>) -> usize {
        self.change(read, false, change)
    }

    fn change(&self, read: Read, is_complete: bool, change: impl FnOnce(&mut Fleet) -> Vec<Change>) -> usize {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let changes = change(&mut known.fleet);
        let count = changes.len();
        if count > 0 {
            known.remembered.push(changes, read.as_of);
        }
        if is_complete {
            known.read = Some(read);
        }
        let last = known.remembered.last();
        drop(known);
        if count > 0 {
            self.ticks.send_replace(last);
        }
        count
    }
}

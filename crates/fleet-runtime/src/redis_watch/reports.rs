//! Where a watch reports what it finds.

use fleet_queue::Queue;

/// Where a watch reports what it finds.
#[derive(Clone, Copy, Debug)]
pub struct Reports {
    /// Counts a failed call to Redis, by kind.
    pub error: fn(&'static str),
    /// Sets how many of Redis' settings are too weak.
    pub weaknesses: fn(u32),
    /// Sets how many of the replicas that must confirm a queue's pushes are missing.
    pub replicas_missing: fn(Queue, u32),
    /// What happens while no push can be confirmed; part of a log line.
    pub unconfirmed: &'static str,
}

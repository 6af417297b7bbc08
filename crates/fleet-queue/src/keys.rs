//! The names of a queue's keys.

use std::fmt::Display;

use uuid::Uuid;

/// The keys of one queue. The braces are the hash tag of Redis Cluster: all keys of a queue are in the same slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueKeys {
    base: String,
    /// List of envelopes: pushed at the tail, claimed from the head.
    pub queue: String,
    /// Sorted set of lease ids by expiry, ms of Redis' clock.
    pub leases: String,
    /// Sorted set of the ids of parked batches by the time when they are due, ms of Redis' clock.
    pub parked: String,
    /// Hash of lease id to `token takeovers bytes mark`.
    pub owners: String,
    /// Hash of counters that only grow: accepted, claimed and settled, messages and bytes of each.
    pub ledger: String,
}

impl QueueKeys {
    /// The keys of the queue with this name under `prefix`. [`Queue`](crate::Queue) has the names.
    pub fn new(prefix: &str, queue: impl Display) -> Self {
        let base = format!("{prefix}:{{{queue}}}");
        Self {
            queue: format!("{base}:queue"),
            leases: format!("{base}:leases"),
            parked: format!("{base}:parked"),
            owners: format!("{base}:owners"),
            ledger: format!("{base}:ledger"),
            base,
        }
    }

    /// The prefix of all its keys, such as `fleet:{niu}`. It is the queue's name outside of Redis.
    pub fn name(&self) -> &str {
        &self.base
    }

    /// The queue's own name, such as `niu`: the part that decides the slot.
    pub(crate) fn tag(&self) -> &str {
        self.base.rsplit_once('{').map_or(self.name(), |(_prefix, tag)| tag.trim_end_matches('}'))
    }

    /// The list that holds one claimed batch.
    pub fn lease(&self, id: Uuid) -> String {
        format!("{}{id}", self.lease_prefix())
    }

    /// The prefix of all those lists' names.
    pub(crate) fn lease_prefix(&self) -> String {
        format!("{}:lease:", self.base)
    }
}

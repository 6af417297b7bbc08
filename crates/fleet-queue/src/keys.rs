//! The names of a queue's keys.

use uuid::Uuid;

/// The keys of one queue. The braces are Redis Cluster's hash tag: one queue's keys share a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueKeys {
    base: String,
    /// List of envelopes: pushed at the tail, claimed from the head.
    pub queue: String,
    /// Sorted set of lease ids by expiry, ms of Redis' clock.
    pub leases: String,
    /// Sorted set of the ids of parked batches by when they are due, ms of Redis' clock.
    pub parked: String,
    /// Hash of lease id to `token takeovers bytes mark`.
    pub owners: String,
    /// Hash of counters that only ever grow: accepted, claimed and settled, messages and bytes of each.
    pub ledger: String,
}

impl QueueKeys {
    /// The keys of `queue` (a provider's slug, or a shard of it) under `prefix`.
    pub fn new(prefix: &str, queue: &str) -> Self {
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

    /// What all of its keys begin with, such as `fleet:{niu}`: its name outside of Redis.
    pub fn name(&self) -> &str {
        &self.base
    }

    /// The list that holds one claimed batch.
    pub fn lease(&self, id: Uuid) -> String {
        format!("{}{id}", self.lease_prefix())
    }

    /// What the names of all those lists begin with.
    pub(crate) fn lease_prefix(&self) -> String {
        format!("{}:lease:", self.base)
    }
}

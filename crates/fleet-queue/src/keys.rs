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
            owners: format!("{base}:owners"),
            ledger: format!("{base}:ledger"),
            base,
        }
    }

    /// The list that holds one claimed batch.
    pub fn lease(&self, id: Uuid) -> String {
        format!("{}:lease:{id}", self.base)
    }
}

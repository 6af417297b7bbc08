//! Leases and their heartbeats.

use metrics::counter;
use strum::VariantArray;

use crate::metrics::declare::declare;

declare! {
    counter LEASES = "fleet_consumer_leases_total", "Batches, by what happened to their leases";
    counter HEARTBEATS = "fleet_consumer_heartbeats_total", "Heartbeats of leases, by outcome";
}

/// What happened to a lease.
#[derive(Clone, Copy, Debug, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LeaseFate {
    /// Claimed from the queue.
    Claimed,
    /// Taken over from a consumer that let it expire, or released it.
    TakenOver,
    /// Stored and acknowledged.
    Settled,
    /// Another consumer has taken it over.
    Lost,
    /// Given up at shutdown.
    Released,
    /// Parked, because one database has its part and the other one is down.
    Parked,
    /// Resumed after it was parked.
    Resumed,
    /// Given up for a minute, because it could not be found out whether a message of it crashes the parser.
    Undecided,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Heartbeat {
    /// This consumer still owns the batch.
    Extended,
    /// Another consumer owns it.
    Lost,
    /// Redis did not reply, or refused the call.
    Failed,
}

/// Exports every series of a provider with its first zero.
pub(super) fn start_at_zero(provider: &'static str) {
    for fate in LeaseFate::VARIANTS {
        add_lease(provider, *fate, 0);
    }
    for outcome in Heartbeat::VARIANTS {
        add_heartbeat(provider, *outcome, 0);
    }
}

/// Counts a lease.
pub(crate) fn lease(provider: &'static str, fate: LeaseFate) {
    add_lease(provider, fate, 1);
}

fn add_lease(provider: &'static str, fate: LeaseFate, count: u64) {
    counter!(LEASES, "provider" => provider, "fate" => <&'static str>::from(fate)).increment(count);
}

/// Counts a heartbeat.
pub(crate) fn heartbeat(provider: &'static str, outcome: Heartbeat) {
    add_heartbeat(provider, outcome, 1);
}

fn add_heartbeat(provider: &'static str, outcome: Heartbeat, count: u64) {
    counter!(HEARTBEATS, "provider" => provider, "outcome" => <&'static str>::from(outcome)).increment(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_stay() {
        let fates: Vec<&str> = LeaseFate::VARIANTS.iter().map(|&fate| fate.into()).collect();
        assert_eq!(
            fates,
            ["claimed", "taken_over", "settled", "lost", "released", "parked", "resumed", "undecided"]
        );
        let outcomes: Vec<&str> = Heartbeat::VARIANTS.iter().map(|&outcome| outcome.into()).collect();
        assert_eq!(outcomes, ["extended", "lost", "failed"]);
    }
}

//! Counts and logs what happens to leases.

use fleet_queue::{Lease, Queue};

use crate::lease::held_lease::Ended;
use crate::lease::obtained::{Obtained, Origin};
use crate::metrics;
use crate::metrics::leases::LeaseFate;

/// Notes a batch that this consumer has obtained.
pub(crate) fn log_obtained(queue: Queue, obtained: &Obtained) {
    let Obtained { lease, origin, large: _ } = obtained;
    match origin {
        Origin::Claimed => metrics::leases::lease(queue.provider(), LeaseFate::Claimed),
        Origin::Resumed => metrics::leases::lease(queue.provider(), LeaseFate::Resumed),
        Origin::TakenOver => {
            metrics::leases::lease(queue.provider(), LeaseFate::TakenOver);
            tracing::info!(
                %queue, lease_id = %lease.id, messages = lease.items.len(), takeovers = lease.takeovers,
                "took a batch over from a consumer that let it expire or released it"
            );
        }
    }
}

/// Notes a batch that this consumer is done with.
pub(crate) fn log_ended(queue: Queue, lease: &Lease, ended: Ended) {
    match ended {
        Ended::Settled => metrics::leases::lease(queue.provider(), LeaseFate::Settled),
        Ended::Released => metrics::leases::lease(queue.provider(), LeaseFate::Released),
        Ended::Parked => {
            metrics::leases::lease(queue.provider(), LeaseFate::Parked);
            tracing::debug!(%queue, lease_id = %lease.id, "parked a batch until both databases accept it");
        }
        Ended::Undecided => {
            metrics::leases::lease(queue.provider(), LeaseFate::Undecided);
            tracing::warn!(
                %queue, lease_id = %lease.id,
                "released a batch for a minute: could not find out whether one of its messages crashes the parser"
            );
        }
        Ended::Lost => {
            metrics::leases::lease(queue.provider(), LeaseFate::Lost);
            tracing::warn!(
                %queue, lease_id = %lease.id,
                "the lease is gone: another consumer has taken the batch over, or the reply to an ack was lost"
            );
        }
    }
}

//! Every metric of the consumer and of the queues. docs/observability.md says what each is for; a test compares the two.

pub(crate) mod batches;
pub(crate) mod databases;
mod declare;
pub(crate) mod dropped;
pub(crate) mod leases;
pub(crate) mod pools;
pub(crate) mod queues;
pub(crate) mod redis;
pub(crate) mod writes;

use fleet_providers::PROVIDERS;
use fleet_runtime::metrics::Buckets;

const WORK_BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Up to the age of a backlog after an outage.
const FRESHNESS_BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
const SIZE_BUCKETS: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 4] = [
    (batches::BATCH_SIZE, &SIZE_BUCKETS),
    (batches::BATCH_DURATION, &WORK_BUCKETS),
    (writes::STATEMENT_DURATION, &WORK_BUCKETS),
    (batches::FRESHNESS, &FRESHNESS_BUCKETS),
];

/// Registers the help text of every metric, and exports the counters at 0, so that `rate()` sees the first event.
pub(crate) fn describe() {
    batches::describe();
    databases::describe();
    dropped::describe();
    leases::describe();
    pools::describe();
    queues::describe();
    redis::describe();
    writes::describe();
    redis::start_at_zero();
    databases::start_at_zero();
    writes::start_databases_at_zero();
    for provider in PROVIDERS {
        let slug = provider.slug;
        batches::start_at_zero(slug);
        dropped::start_at_zero(slug);
        leases::start_at_zero(slug);
        writes::start_at_zero(slug);
    }
}

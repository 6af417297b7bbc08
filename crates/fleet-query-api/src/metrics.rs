//! The query service's metrics: their names, what they mean, and every value of their labels.

use std::time::Duration;

use fleet_runtime::metrics::Buckets;
use fleet_store::{PoolUsage, StoreError};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use strum::{IntoStaticStr, VariantArray};

use crate::problem::Kind;

const REQUESTS: &str = "fleet_query_requests_total";
const REQUEST_DURATION: &str = "fleet_query_request_duration_seconds";
const PROBLEMS: &str = "fleet_query_problems_total";
const STREAMS: &str = "fleet_query_streams";
const STREAMS_MAX: &str = "fleet_query_streams_max";
const SNAPSHOTS: &str = "fleet_query_snapshots_total";
const EVENTS: &str = "fleet_query_stream_events_total";
const VEHICLES: &str = "fleet_query_vehicles";
const KNOWLEDGE_AGE: &str = "fleet_query_knowledge_age_seconds";
const LOOK_DURATION: &str = "fleet_query_look_duration_seconds";
const LOOK_ERRORS: &str = "fleet_query_look_errors_total";
const CHANGES: &str = "fleet_query_changes_total";
const ROWS: &str = "fleet_query_rows_read_total";
const POOL: &str = "fleet_query_track_connections";
const POOL_WAITING: &str = "fleet_query_track_connections_awaited";

const LATENCY_BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The buckets of every histogram.
pub const BUCKETS: [Buckets; 2] = [(REQUEST_DURATION, &LATENCY_BUCKETS), (LOOK_DURATION, &LATENCY_BUCKETS)];

/// What a request asked for: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Route {
    /// Many vehicles.
    Vehicles,
    /// One vehicle.
    Vehicle,
    /// Where a vehicle was.
    Track,
    /// The changes as they happen.
    Stream,
    /// The map and its files, and the OpenAPI document.
    Page,
    /// Any other path.
    Unknown,
}

impl Route {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// Why a stream got all of its vehicles: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum SnapshotReason {
    /// The stream has begun.
    Begun,
    /// Its reader was slower than the changes.
    Slow,
}

/// What a stream tells: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Event {
    /// All vehicles follow.
    Snapshot,
    /// The state of a vehicle.
    Vehicle,
    /// A vehicle has left.
    Gone,
    /// Everything up to here has been told.
    Heartbeat,
}

impl Event {
    /// Its name in streams and metric labels.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// Describes each metric, and creates it.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by route and class of the status");
    describe_histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "Time from a request's headers to those of its response, by route"
    );
    describe_counter!(PROBLEMS, "Requests answered with a problem, by kind");
    describe_gauge!(STREAMS, "Open streams");
    describe_gauge!(STREAMS_MAX, "Streams that may be open, of all tokens together");
    describe_counter!(SNAPSHOTS, "Snapshots begun in streams, by reason");
    describe_counter!(EVENTS, "Events written into streams, by event");
    describe_gauge!(VEHICLES, "Vehicles in memory");
    describe_gauge!(
        KNOWLEDGE_AGE,
        Unit::Seconds,
        "Age of the last successful read of the changes, or time since the start if there was none"
    );
    describe_histogram!(LOOK_DURATION, Unit::Seconds, "Duration of a successful read of the changes");
    describe_counter!(LOOK_ERRORS, "Failed reads of the changes, by class of the error");
    describe_counter!(CHANGES, "Changes of vehicles that were found");
    describe_counter!(ROWS, "Rows of vehicles that were read, including those that were known already");
    describe_gauge!(POOL, "Connections for tracks, by state");
    describe_gauge!(POOL_WAITING, "Track requests that wait for a connection");
    create();
}

fn create() {
    for route in Route::VARIANTS {
        for class in CLASSES {
            counter!(REQUESTS, "route" => route.name(), "status" => class).increment(0);
        }
        let _shown = histogram!(REQUEST_DURATION, "route" => route.name());
    }
    for kind in Kind::VARIANTS {
        counter!(PROBLEMS, "kind" => kind.name()).increment(0);
    }
    for reason in SnapshotReason::VARIANTS {
        counter!(SNAPSHOTS, "reason" => <&str>::from(*reason)).increment(0);
    }
    for event in Event::VARIANTS {
        counter!(EVENTS, "event" => event.name()).increment(0);
    }
    for class in StoreError::LABELS {
        counter!(LOOK_ERRORS, "class" => class).increment(0);
    }
    counter!(CHANGES).increment(0);
    counter!(ROWS).increment(0);
    let _shown = histogram!(LOOK_DURATION);
    streams(0);
}

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counts a response.
pub(crate) fn answered(route: Route, status: u16, lasted: Duration) {
    let class = match status {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    counter!(REQUESTS, "route" => route.name(), "status" => class).increment(1);
    histogram!(REQUEST_DURATION, "route" => route.name()).record(lasted);
}

/// Counts a problem.
pub(crate) fn problem(kind: Kind) {
    counter!(PROBLEMS, "kind" => kind.name()).increment(1);
}

/// Sets how many streams are open.
pub(crate) fn streams(open: usize) {
    gauge!(STREAMS).set(float(open));
}

/// Sets how many streams may be open.
pub(crate) fn streams_max(max: usize) {
    gauge!(STREAMS_MAX).set(float(max));
}

/// Counts a snapshot.
pub(crate) fn snapshot(reason: SnapshotReason) {
    counter!(SNAPSHOTS, "reason" => <&str>::from(reason)).increment(1);
}

/// Counts events.
pub(crate) fn events(event: Event, count: usize) {
    counter!(EVENTS, "event" => event.name()).increment(wide(count));
}

/// Notes a successful read: how long it took, rows, changes, and vehicles after it.
pub(crate) fn looked(lasted: Duration, rows: usize, changes: usize, vehicles: usize) {
    histogram!(LOOK_DURATION).record(lasted);
    counter!(ROWS).increment(wide(rows));
    counter!(CHANGES).increment(wide(changes));
    gauge!(VEHICLES).set(float(vehicles));
}

/// Counts a failed read.
pub(crate) fn look_failed(class: &'static str) {
    counter!(LOOK_ERRORS, "class" => class).increment(1);
}

/// Sets the age of the knowledge.
pub(crate) fn knowledge_age(age: Duration) {
    gauge!(KNOWLEDGE_AGE).set(age.as_secs_f64());
}

/// Shows how busy the connections for tracks are.
pub(crate) fn track_pool(usage: PoolUsage) {
    let PoolUsage { in_use, open, max, waiting } = usage;
    for (state, count) in [("in_use", in_use), ("open", open), ("max", max)] {
        gauge!(POOL, "state" => state).set(float(count));
    }
    gauge!(POOL_WAITING).set(float(waiting));
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dashboards, alerts and clients know these names.
    #[test]
    fn names() {
        let routes: Vec<_> = Route::VARIANTS.iter().map(|route| route.name()).collect();
        assert_eq!(routes, ["vehicles", "vehicle", "track", "stream", "page", "unknown"]);
        let events: Vec<_> = Event::VARIANTS.iter().map(|event| event.name()).collect();
        assert_eq!(events, ["snapshot", "vehicle", "gone", "heartbeat"]);
        let reasons: Vec<_> = SnapshotReason::VARIANTS.iter().map(|reason| <&str>::from(*reason)).collect();
        assert_eq!(reasons, ["begun", "slow"]);
    }
}

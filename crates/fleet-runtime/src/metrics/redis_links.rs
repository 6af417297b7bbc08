//! Metrics and log lines about the links to Redis: whether they are connected to the primary.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fleet_queue::{Departure, Event, LinkState, Report};
use metrics::{counter, describe_counter, describe_gauge, gauge};

const LINKS: &str = "fleet_runtime_redis_links";
const LEFT: &str = "fleet_runtime_redis_left_total";

/// The primary that was logged last: that of each queue in a Redis Cluster, otherwise that of all queues.
static PRIMARIES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Describes the metrics, and exports every series with its first zero.
pub(crate) fn describe() {
    describe_gauge!(LINKS, "Links to Redis, by what is known about the server that they are connected to");
    describe_counter!(
        LEFT,
        "Connections to servers of Redis that were given up to locate the primary, by reason"
    );
    for &state in LinkState::NAMES {
        gauge!(LINKS, "state" => state).set(0);
    }
    for &reason in Departure::NAMES {
        counter!(LEFT, "reason" => reason).increment(0);
    }
}

/// Publishes what happened to a link.
pub(crate) fn publish(report: &Report<'_>) {
    match report.event {
        Event::State { from, to } => {
            if let Some(from) = from {
                gauge!(LINKS, "state" => <&str>::from(from)).decrement(1);
            }
            if let Some(to) = to {
                gauge!(LINKS, "state" => <&str>::from(to)).increment(1);
            }
        }
        Event::Left(departure) => counter!(LEFT, "reason" => <&str>::from(departure)).increment(1),
        Event::Located { server, after } => {
            let scope = if report.per_queue { report.queue } else { "" };
            if let Some(old) = replace(scope, server) {
                let seconds = after.unwrap_or_default().as_secs_f32();
                tracing::info!(queue = scope, from = old, to = server, seconds, "Redis has another primary");
            }
        }
    }
}

/// Remembers the primary. Several links notice one failover, so only the first one gets the old primary, to log it.
fn replace(scope: &str, server: &str) -> Option<String> {
    let mut primaries = PRIMARIES.lock().unwrap_or_else(PoisonError::into_inner);
    match primaries.get_mut(scope) {
        Some(known) if known == server => None,
        Some(known) => Some(std::mem::replace(known, server.to_owned())),
        None => {
            primaries.insert(scope.to_owned(), server.to_owned());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_is_logged_once_for_all_links() {
        assert_eq!(replace("q", "a:1"), None, "the first one");
        assert_eq!(replace("q", "a:1"), None, "another link");
        assert_eq!(replace("q", "b:1").as_deref(), Some("a:1"));
        assert_eq!(replace("q", "b:1"), None, "another link after the failover");
        assert_eq!(replace("other", "a:1"), None);
    }
}

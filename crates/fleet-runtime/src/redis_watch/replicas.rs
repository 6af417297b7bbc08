//! Watches whether replicas confirm writes, if pushes wait for them.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use fleet_queue::{Obstacle, Producer, Queue};

use super::reports::Reports;
use crate::outage::{Failing, OutageLog, Over};

/// Time between two checks.
const CHECK_EVERY: Duration = Duration::from_secs(15);

/// The producer of one queue, over a connection of its own, and how many replicas must confirm.
pub(super) struct ReplicaWatch {
    /// The producer's queue, and others that are on the same server.
    pub(super) queues: Vec<Queue>,
    pub(super) producer: Producer,
    pub(super) wanted: u32,
    pub(super) reports: Reports,
}

impl ReplicaWatch {
    /// Checks once at the start, and then regularly. Says what to do if replicas confirm nothing.
    pub(super) async fn run(self) -> Infallible {
        let mut interval = tokio::time::interval(CHECK_EVERY);
        let (mut outage, mut said) = (OutageLog::default(), None);
        let names = self.queues.iter().map(Queue::to_string).collect::<Vec<_>>().join(", ");
        loop {
            interval.tick().await;
            match self.producer.obstacle().await {
                Ok(found) => {
                    let missing = found.map_or(0, |obstacle| obstacle.missing_replicas(self.wanted));
                    for &queue in &self.queues {
                        (self.reports.replicas_missing)(queue, missing);
                    }
                    report(&names, found, self.reports.unconfirmed, &mut said, &mut outage);
                }
                // Who pushes logs that Redis does not respond.
                Err(error) => (self.reports.error)(error.kind()),
            }
        }
    }
}

/// Logs an obstacle when it begins, when it changes, once a minute, and when it is over.
fn report(
    queues: &str,
    found: Option<Obstacle>,
    consequence: &str,
    said: &mut Option<Obstacle>,
    outage: &mut OutageLog,
) {
    let Some(obstacle) = found else {
        *said = None;
        if let Some(Over { lasted, .. }) = outage.succeeded(Instant::now()) {
            tracing::info!(queues, seconds = lasted.as_secs(), "replicas of Redis confirm writes");
        }
        return;
    };
    let is_due = outage.failed(Instant::now(), 1);
    let is_other =
        said.is_some_and(|said| std::mem::discriminant(&said) != std::mem::discriminant(&obstacle));
    if is_due.is_some() || is_other {
        let seconds = is_due.map(|Failing { lasted, .. }| lasted.as_secs());
        tracing::warn!(queues, seconds, "no push can be confirmed, so {consequence}: {obstacle}");
        *said = Some(obstacle);
    }
}

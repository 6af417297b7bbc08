//! What the API has acknowledged, and so must appear in the databases.

use crate::exactly_once::Fates;
use crate::model::{Expected, Moment};
use crate::stall::Stall;
use crate::vehicle::{Role, Vehicle};
use crate::wire::{Event, Webhook};

/// What one vehicle's acknowledged reports say.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Acknowledged events, resends not counted; without any there is no row.
    pub events: u64,
    /// What the row must say.
    pub expected: Expected,
}

/// The record of a run.
#[derive(Debug)]
pub struct Record {
    /// By index in the fleet.
    pub vehicles: Vec<Acknowledged>,
    /// Distinct acknowledged events.
    pub distinct_events: u64,
    /// Telemetry rows there may be at most: more than distinct events only where an event without a time of its
    /// own was sent again after an answer that was lost or said 503.
    pub max_rows: u64,
    /// What must become of each report.
    pub fates: Fates,
    /// The longest time without a 200.
    pub answers: Stall,
    skewed: Vec<bool>,
}

impl Record {
    /// An empty record for this fleet.
    pub fn new(fleet: &[Vehicle]) -> Self {
        Self {
            vehicles: vec![Acknowledged::default(); fleet.len()],
            distinct_events: 0,
            max_rows: 0,
            fates: Fates::default(),
            answers: Stall::default(),
            skewed: fleet.iter().map(|vehicle| vehicle.role == Role::Skewed).collect(),
        }
    }

    /// Counts a delivery answered 200 after `doubtful` attempts that the API may have accepted as well. `received_ms` is the
    /// API's time of receipt of this delivery, epoch ms; the attempts before it were received before.
    pub fn acknowledge(&mut self, webhook: &Webhook, doubtful: u64, received_ms: i64) {
        self.answers.progressed();
        let is_first = webhook.acknowledge();
        if is_first {
            self.fates.answered(webhook);
        }
        for (event, place) in webhook.events.iter().zip(0..) {
            // A resend is received later than the first delivery.
            self.take(event, received_ms, place);
            if !event.keeps_time {
                self.max_rows += doubtful + u64::from(!is_first);
            }
            if is_first {
                self.distinct_events += 1;
                self.max_rows += 1;
                self.vehicles[event.vehicle].events += 1;
            }
        }
    }

    /// Notes a forgery answered 401.
    pub fn refuse(&mut self, webhook: &Webhook) {
        self.fates.answered(webhook);
    }

    fn take(&mut self, event: &Event, received_ms: i64, place: i64) {
        let expected = &mut self.vehicles[event.vehicle].expected;
        for seen in &event.seen {
            // A time that cannot be true counts as the time of receipt.
            let at_ms = if self.skewed[event.vehicle] { received_ms } else { seen.at_ms };
            expected.take(Moment { at_ms, received_us: received_ms * 1_000 + place }, seen.what);
        }
    }
}

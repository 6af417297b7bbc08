//! What the API has acknowledged, and so must appear in the databases.

use crate::exactly_once::Fates;
use crate::model::{Expected, Observation};
use crate::stall::Stall;
use crate::vehicle::{Role, Vehicle};
use crate::wire::{Event, Webhook};

/// What one vehicle's acknowledged reports say.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Acknowledged events, resends not counted; without any there is no row.
    pub events: u64,
    /// What the row must say, unless the clock is skewed.
    pub expected: Expected,
    /// All values sent, if the clock is skewed: which of them came last, only the API's clock knows.
    pub values: Vec<Observation>,
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

    /// Counts a delivery answered 200 after `doubtful` attempts that the API may have accepted as well.
    pub fn acknowledge(&mut self, webhook: &Webhook, doubtful: u64) {
        self.answers.progressed();
        let is_first = webhook.acknowledge();
        if is_first {
            self.fates.answered(webhook);
        }
        for event in &webhook.events {
            if !event.keeps_time {
                self.max_rows += doubtful + u64::from(!is_first);
            }
            if is_first {
                self.distinct_events += 1;
                self.max_rows += 1;
                self.vehicles[event.vehicle].events += 1;
                self.take(event);
            }
        }
    }

    /// Notes a forgery answered 401.
    pub fn refuse(&mut self, webhook: &Webhook) {
        self.fates.answered(webhook);
    }

    fn take(&mut self, event: &Event) {
        let vehicle = &mut self.vehicles[event.vehicle];
        for seen in &event.seen {
            vehicle.expected.take(seen);
            if self.skewed[event.vehicle] {
                vehicle.values.push(seen.what);
            }
        }
    }
}

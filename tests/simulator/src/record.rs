//! Records what the API and the broker have acknowledged. All of it must appear in the databases.

use crate::exactly_once::Fates;
use crate::model::{Expected, Moment};
use crate::stall::Stall;
use crate::vehicle::{Role, Vehicle};
use crate::wire::{Event, Webhook};

/// The acknowledged reports of one vehicle.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Acknowledged events without resends. If there are none, the vehicle must have no row.
    pub events: u64,
    /// The expected content of the row.
    pub expected: Expected,
}

/// The record of a run.
#[derive(Debug)]
pub struct Record {
    /// The vehicles, by index in the fleet.
    pub vehicles: Vec<Acknowledged>,
    /// Acknowledged events without resends.
    pub distinct_events: u64,
    /// The maximum number of telemetry rows. It exceeds the number of distinct events only if an event
    /// without a time of its own was sent again after a 503 or a lost response.
    pub max_rows: u64,
    /// The expected rows of each report.
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

    /// Records a delivery that got a 200 after `doubtful` attempts that the API may have accepted too.
    /// `received_ms` is when the API received this delivery, epoch ms; it received the other attempts
    /// earlier.
    pub fn acknowledge(&mut self, webhook: &Webhook, doubtful: u64, received_ms: i64) {
        self.answers.progressed();
        self.acknowledged(webhook, doubtful, received_ms);
    }

    /// Records a message that the broker has confirmed. Nobody knows when the bridge will receive it, or how often, so its
    /// expected row must not depend on that.
    pub fn confirm(&mut self, webhook: &Webhook, confirmed_ms: i64) {
        self.acknowledged(webhook, 0, confirmed_ms);
    }

    fn acknowledged(&mut self, webhook: &Webhook, doubtful: u64, received_ms: i64) {
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

    /// Records a forged request that got a 401.
    pub fn refuse(&mut self, webhook: &Webhook) {
        self.fates.answered(webhook);
    }

    fn take(&mut self, event: &Event, received_ms: i64, place: i64) {
        let expected = &mut self.vehicles[event.vehicle].expected;
        for seen in &event.seen {
            // If the time is implausible, the time of receipt counts.
            let at_ms = if self.skewed[event.vehicle] { received_ms } else { seen.at_ms };
            expected.take(Moment { at_ms, received_us: received_ms * 1_000 + place }, seen.what);
        }
    }
}

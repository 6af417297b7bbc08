//! How events are written.

use fleet_store::FoundVehicle;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::data::{Gone, StreamState};
use crate::answer::format::write_json;
use crate::answer::vehicles::age_s;
use crate::knowledge::Read;
use crate::metrics::Event;
use crate::vehicle::VehicleView;

/// Events that are written together.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
}

/// How long a client is to wait before it comes back after an error, milliseconds.
const RETRY_MS: u32 = 1000;

/// The same at a shutdown. Another replica is ready.
const RETRY_AT_ONCE_MS: u32 = 50;

impl Text {
    /// The beginning of a stream.
    pub(super) fn retry(&mut self) {
        self.bytes.extend_from_slice(format!("retry: {RETRY_MS}\n\n").as_bytes());
    }

    /// The end of a stream whose process ends.
    pub(super) fn retry_at_once(&mut self) {
        self.bytes.extend_from_slice(format!("retry: {RETRY_AT_ONCE_MS}\n\n").as_bytes());
    }

    /// The beginning of a snapshot. It has no id to come back to.
    pub(super) fn snapshot(&mut self, vehicles: usize, read: Read) {
        self.bytes.extend_from_slice(b"id\n");
        self.event(
            Event::Snapshot,
            &StreamState { as_of: read.as_of, age_s: age_s(read), vehicles: Some(vehicles) },
        );
    }

    /// The state of a vehicle.
    pub(super) fn vehicle(&mut self, found: &FoundVehicle, now: Timestamp) {
        self.event(Event::Vehicle, &VehicleView::new(found, now));
    }

    /// The end of a vehicle.
    pub(super) fn gone(&mut self, vehicle_id: Uuid) {
        self.event(Event::Gone, &Gone { vehicle_id });
    }

    /// Everything up to `id` has been told.
    pub(super) fn heartbeat(&mut self, id: &str, read: Option<Read>) {
        let Some(read) = read else { return };
        self.bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
        self.event(Event::Heartbeat, &StreamState { as_of: read.as_of, age_s: age_s(read), vehicles: None });
    }

    /// Everything up to `id` has been told, without an event.
    pub(super) fn told(&mut self, id: &str) {
        self.bytes.extend_from_slice(format!("id: {id}\n\n").as_bytes());
    }

    fn event(&mut self, event: Event, data: &impl Serialize) {
        self.bytes.extend_from_slice(b"event: ");
        self.bytes.extend_from_slice(event.name().as_bytes());
        self.bytes.extend_from_slice(b"\ndata: ");
        write_json(data, &mut self.bytes);
        self.bytes.extend_from_slice(b"\n\n");
    }
}

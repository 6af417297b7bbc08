//! What the telemetry database has of a message.

use std::collections::BTreeMap;

use fleet_store::{
    DeadLetterFilter, DeadLetterStore, ErrorClass, Observed, StateStore, StoreError, StoredDeadLetter,
    TelemetryStore, TracedEvents, UnstoredMessage,
};
use uuid::Uuid;

use crate::commands::trace::message_id::MessageId;
use crate::connect::Databases;

/// The most rows and dead letters that are printed.
pub(super) const SHOWN: usize = 20;

/// The same, as a parameter of a query.
const LIMIT: i64 = 20;

/// What the telemetry database has of one message.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) events: TracedEvents,
    pub(super) dead_letters: Vec<StoredDeadLetter>,
    pub(super) unstored: Option<UnstoredMessage>,
    /// The message that stored the row of its first duplicate.
    pub(super) earlier: Option<Uuid>,
    /// The provider's ids of the vehicles, as far as the state database has them.
    pub(super) vehicles: BTreeMap<Uuid, String>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

impl Stored {
    pub(super) async fn read(databases: &Databases, message: MessageId) -> Self {
        let MessageId { id, received_at } = message;
        let telemetry = TelemetryStore::new(databases.telemetry.clone());
        let dead_letters = DeadLetterStore::new(databases.telemetry.clone());
        let mut stored = Self::default();
        let observed = [
            (Observed::Soon, "telemetry"),
            (Observed::Earlier, "telemetry that was observed more than a day before its receipt"),
        ];
        for (observed, what) in observed {
            match telemetry.events_of_message(id, received_at, observed, LIMIT).await {
                Ok(events) => stored.add(events),
                Err(error) => {
                    stored.note(what, &error);
                    if error.is_refused() {
                        break;
                    }
                    match error.class() {
                        // The other tables are in the same database, and would fail after the same time.
                        ErrorClass::Unavailable | ErrorClass::Fatal => return stored,
                        ErrorClass::Session
                        | ErrorClass::TooSlow
                        | ErrorClass::Locked
                        | ErrorClass::Poison => {}
                    }
                }
            }
        }
        let filter = DeadLetterFilter { message_id: Some(id), ..DeadLetterFilter::default() };
        match dead_letters.page(&filter, None, LIMIT).await {
            Ok(letters) => stored.dead_letters = letters,
            Err(error) => stored.note("dead letters", &error),
        }
        match telemetry.unstored_message(id).await {
            Ok(unstored) => stored.unstored = unstored,
            Err(error) => stored.note("the notes of duplicates and of messages without events", &error),
        }
        let first_duplicate = stored.unstored.as_ref().and_then(|unstored| unstored.first_duplicate);
        if let Some(key) = first_duplicate {
            match telemetry.message_of_event(key).await {
                Ok(earlier) => stored.earlier = earlier,
                Err(error) => stored.note("the row that a duplicate met", &error),
            }
        }
        let events = stored.events.first.iter().map(|event| event.key);
        let ids: Vec<_> = events.chain(first_duplicate).map(|key| key.vehicle_id).collect();
        // Without the provider's ids, the vehicle ids are printed.
        let vehicles = StateStore::new(databases.state.clone()).vehicles(&ids).await.unwrap_or_default();
        let named = vehicles.into_iter().map(|vehicle| (vehicle.vehicle_id, vehicle.provider_vehicle_id));
        stored.vehicles = named.collect();
        stored
    }

    fn add(&mut self, events: TracedEvents) {
        self.events.count += events.count;
        self.events.first.extend(events.first);
        self.events.first.truncate(SHOWN);
    }

    fn note(&mut self, what: &str, error: &StoreError) {
        self.unread.push(format!("{what}: {error}"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.count == 0 && self.dead_letters.is_empty() && self.unstored.is_none()
    }
}

//! Where did one webhook end?

mod print;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_providers::{PROVIDERS, Provider};
use fleet_queue::{Finder, Place, QueueError, RedisLink, Search};
use fleet_runtime::settings::Settings;
use fleet_store::{
    DeadLetterFilter, DeadLetterStore, ErrorClass, Observed, StateStore, StoreError, StoredDeadLetter,
    TelemetryStore, TracedEvents, UnstoredMessage,
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::connect::{Databases, redis_link};
use crate::service::ConsumerError;

/// Most rows and dead letters that are shown.
const SHOWN: usize = 20;

/// As a parameter of a query.
const LIMIT: i64 = 20;

/// How long the queues are read for a message that is nowhere else.
const SCAN: Duration = Duration::from_secs(2);

/// The same, if the message was found elsewhere: it may be in a queue once more if its dead letters were replayed.
const SHORT_SCAN: Duration = Duration::from_millis(200);

const NO_ID: &str = "this is no UUID. Pass the x-request-id of the response to the webhook, such as \
                     0197533e-84bb-7d71-8d6c-3c1f0a2b4c5d; logs and tables call it message_id";

const NO_TIME: &str = "this UUID is no UUIDv7, so the API has not given it to a webhook. Pass the x-request-id of the \
                       response. If it is the id of a dead letter whose envelope cannot be read, use `fleet-consumer \
                       dead-letters show`";

/// The id of a message, and the time in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    id: Uuid,
    received_at: Timestamp,
}

impl MessageId {
    /// Reads an `x-request-id`.
    ///
    /// # Errors
    ///
    /// What to pass instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let id: Option<Uuid> = text.trim().parse().ok();
        match (id, id.and_then(time_of)) {
            (Some(id), Some(received_at)) => Ok(Self { id, received_at }),
            (Some(_), None) => Err(NO_TIME.to_owned()),
            (None, _) => Err(NO_ID.to_owned()),
        }
    }
}

/// The time in a UUIDv7.
fn time_of(id: Uuid) -> Option<Timestamp> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// What is known of one message.
#[derive(Debug)]
pub struct Trace {
    message: MessageId,
    /// Days that telemetry is kept.
    telemetry_days: u32,
    /// Where it waits or is worked on, and in which queue.
    places: Vec<(&'static str, Place)>,
    stored: Stored,
    /// What could not be searched, or not as a whole, and why.
    unsearched: Vec<String>,
}

/// What the telemetry database says of one message.
#[derive(Debug, Default)]
struct Stored {
    events: TracedEvents,
    dead_letters: Vec<StoredDeadLetter>,
    unstored: Option<UnstoredMessage>,
    /// The message whose row its first duplicate met.
    earlier: Option<Uuid>,
    /// What the provider calls the vehicles, as far as the state database says so.
    vehicles: BTreeMap<Uuid, String>,
    /// What could not be read, and why.
    unread: Vec<String>,
}

impl Trace {
    /// Looks for a message in every queue and in the telemetry database. What cannot be searched is named in the result.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] if the settings cannot be used.
    pub async fn read(settings: &Settings, message: MessageId) -> Result<Self, ConsumerError> {
        let databases = Databases::new(settings)?;
        let link = Arc::new(redis_link(settings)?);
        let telemetry_days = settings.retention.telemetry_days;
        let (places, stored, unsearched) = (Vec::new(), Stored::default(), Vec::new());
        let mut trace = Self { message, telemetry_days, places, stored, unsearched };
        // In the order in which a message moves, so that one that moves meanwhile is met later.
        let partly_searched = trace.find(&link, settings).await;
        trace.stored = Stored::read(&databases, message).await;
        if trace.places.is_empty() && !partly_searched.is_empty() {
            trace.scan(&link, settings, &partly_searched).await;
            if !trace.is_found() {
                trace.stored = Stored::read(&databases, message).await;
            }
        }
        Ok(trace)
    }

    /// Whether the message, or what became of it, is anywhere.
    pub fn is_found(&self) -> bool {
        !self.places.is_empty() || !self.stored.is_empty()
    }

    /// Looks into each queue where the message should be. Returns the queues that were not searched as a whole.
    async fn find(&mut self, link: &Arc<RedisLink>, settings: &Settings) -> Vec<&'static str> {
        let mut partly_searched = Vec::new();
        for Provider { slug, .. } in PROVIDERS {
            let finder = Finder::new(Arc::clone(link), &settings.queue.prefix, slug);
            let found = finder.find(self.message.id, self.message.received_at).await;
            match self.note(slug, found) {
                Some(Search { place: None, is_complete: false }) => partly_searched.push(*slug),
                Some(_) => {}
                // The others are in the same server.
                None => break,
            }
        }
        partly_searched
    }

    /// Reads queues from end to end, as far as there is time.
    async fn scan(&mut self, link: &Arc<RedisLink>, settings: &Settings, queues: &[&'static str]) {
        let deadline = Instant::now() + if self.is_found() { SHORT_SCAN } else { SCAN };
        for slug in queues {
            let finder = Finder::new(Arc::clone(link), &settings.queue.prefix, slug);
            let found = finder.scan(self.message.id, deadline).await;
            match self.note(slug, found) {
                Some(Search { place: Some(_), .. }) | None => return,
                // Of a message that is found, this would say no more.
                Some(Search { is_complete, .. }) if is_complete || self.is_found() => {}
                Some(_) => self.unsearched.push(format!(
                    "a part of the queue of {slug}, which is long. Around the time of receipt it was searched; a dead letter that \
                     was replayed may be elsewhere in it"
                )),
            }
        }
    }

    fn note(&mut self, slug: &'static str, found: Result<Search, QueueError>) -> Option<Search> {
        match found {
            Ok(search) => {
                self.places.extend(search.place.clone().map(|place| (slug, place)));
                Some(search)
            }
            Err(error) => {
                self.unsearched.push(format!("the queue of {slug}, and those that come after it: {error}"));
                None
            }
        }
    }
}

impl Stored {
    async fn read(databases: &Databases, message: MessageId) -> Self {
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
                        // The other tables are in the same database, and it would take as long to find out.
                        ErrorClass::Unavailable | ErrorClass::Fatal => return stored,
                        ErrorClass::Session | ErrorClass::TooSlow | ErrorClass::Poison => {}
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
        // Without the names there are still the ids.
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

    fn is_empty(&self) -> bool {
        self.events.count == 0 && self.dead_letters.is_empty() && self.unstored.is_none()
    }
}

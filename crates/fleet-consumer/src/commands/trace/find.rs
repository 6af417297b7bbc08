//! Searches the queues and the telemetry database for one message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_providers::{PROVIDERS, Provider};
use fleet_queue::{Finder, Place, QueueError, RedisLink, Search};
use fleet_runtime::settings::Settings;

use crate::commands::trace::message_id::MessageId;
use crate::commands::trace::stored::Stored;
use crate::connect::{Databases, redis_link};
use crate::error::ConsumerError;

/// How long the queues are scanned for a message that is nowhere else.
const SCAN: Duration = Duration::from_secs(2);

/// The same, if the message was found elsewhere. It may also be in a queue if its dead letters were replayed.
const SHORT_SCAN: Duration = Duration::from_millis(200);

/// Where a message is, or what became of it.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(super) message: MessageId,
    /// How many days telemetry is kept.
    pub(super) telemetry_days: u32,
    /// Where it waits or is leased, and in which queue.
    pub(super) places: Vec<(&'static str, Place)>,
    pub(super) stored: Stored,
    /// What could not be searched completely, and why.
    pub(super) unsearched: Vec<String>,
}

impl Trace {
    /// Searches every queue and the telemetry database. The result names what could not be searched.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] if the settings cannot be used.
    pub(crate) async fn read(settings: &Settings, message: MessageId) -> Result<Self, ConsumerError> {
        let databases = Databases::new(settings)?;
        let link = Arc::new(redis_link(settings)?);
        let telemetry_days = settings.retention.telemetry_days;
        let (places, stored, unsearched) = (Vec::new(), Stored::default(), Vec::new());
        let mut trace = Self { message, telemetry_days, places, stored, unsearched };
        // Search in the order in which a message moves, so that a message that moves meanwhile is found later.
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
    pub(crate) fn is_found(&self) -> bool {
        !self.places.is_empty() || !self.stored.is_empty()
    }

    /// Searches each queue where the message should be. Returns the queues that were not searched completely.
    async fn find(&mut self, link: &Arc<RedisLink>, settings: &Settings) -> Vec<&'static str> {
        let mut partly_searched = Vec::new();
        for Provider { slug, .. } in PROVIDERS {
            let finder = Finder::new(Arc::clone(link), &settings.queue.prefix, slug);
            let found = finder.find(self.message.id, self.message.received_at).await;
            match self.note(slug, found) {
                Some(Search { place: None, is_complete: false }) => partly_searched.push(*slug),
                Some(_) => {}
                // The other queues are on the same server.
                None => break,
            }
        }
        partly_searched
    }

    /// Scans whole queues, as far as there is time.
    async fn scan(&mut self, link: &Arc<RedisLink>, settings: &Settings, queues: &[&'static str]) {
        let deadline = Instant::now() + if self.is_found() { SHORT_SCAN } else { SCAN };
        for slug in queues {
            let finder = Finder::new(Arc::clone(link), &settings.queue.prefix, slug);
            let found = finder.scan(self.message.id, deadline).await;
            match self.note(slug, found) {
                Some(Search { place: Some(_), .. }) | None => return,
                // If the message is found elsewhere, an incomplete scan does not matter.
                Some(Search { is_complete, .. }) if is_complete || self.is_found() => {}
                Some(_) => self.unsearched.push(format!(
                    "a part of the queue of {slug}, which is long. The part around the time of receipt was searched. A replayed \
                     dead letter may be elsewhere in it"
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
                self.unsearched.push(format!("the queue of {slug}, and the queues after it: {error}"));
                None
            }
        }
    }
}

//! Where did one webhook end?

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_providers::{PROVIDERS, Provider};
use fleet_queue::{Finder, Place, QueueError, RedisLink, Search};
use fleet_runtime::settings::Settings;

use crate::commands::trace::message_id::MessageId;
use crate::commands::trace::stored::Stored;
use crate::connect::{Databases, redis_link};
use crate::error::ConsumerError;

/// How long the queues are read for a message that is nowhere else.
const SCAN: Duration = Duration::from_secs(2);

/// The same, if the message was found elsewhere: it may be in a queue once more if its dead letters were replayed.
const SHORT_SCAN: Duration = Duration::from_millis(200);

/// What is known of one message.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(super) message: MessageId,
    /// Days that telemetry is kept.
    pub(super) telemetry_days: u32,
    /// Where it waits or is worked on, and in which queue.
    pub(super) places: Vec<(&'static str, Place)>,
    pub(super) stored: Stored,
    /// What could not be searched, or not as a whole, and why.
    pub(super) unsearched: Vec<String>,
}

impl Trace {
    /// Looks for a message in every queue and in the telemetry database. What cannot be searched is named in the result.
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
    pub(crate) fn is_found(&self) -> bool {
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

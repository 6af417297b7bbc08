//! Searches the queues and the telemetry database for one message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Finder, Place, Queue, QueueError, Search};
use fleet_runtime::settings::Settings;
use fleet_store::WitnessStore;
use futures_util::future::join_all;

use crate::commands::trace::message_id::MessageId;
use crate::commands::trace::stored::Stored;
use crate::connect::Databases;
use crate::error::ConsumerError;
use crate::observe::witness::queue_prefix;
use crate::queues::{KnownQueues, OpenQueue};

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
    pub(super) places: Vec<(Queue, Place)>,
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
        let prefix = settings.queue.prefix.as_str();
        let open = every_queue(settings, &databases).await?;
        let telemetry_days = settings.retention.telemetry_days;
        let (places, stored, unsearched) = (Vec::new(), Stored::default(), Vec::new());
        let mut trace = Self { message, telemetry_days, places, stored, unsearched };
        // Search in the order in which a message moves, so that a message that moves meanwhile is found later.
        let partly_searched = trace.find(&open, prefix).await;
        trace.stored = Stored::read(&databases, message).await;
        if trace.places.is_empty() && !partly_searched.is_empty() {
            trace.scan(&partly_searched, prefix).await;
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

    /// Searches each queue where the message should be. Returns the queues that were not searched completely. All queues are
    /// searched together, because each server that does not respond takes its time.
    async fn find(&mut self, open: &[OpenQueue], prefix: &str) -> Vec<OpenQueue> {
        let MessageId { id, received_at } = self.message;
        let searches = open.iter().map(|open| async move {
            let found = finder(open, prefix).find(id, received_at).await;
            (open, found)
        });
        let mut partly_searched = Vec::new();
        for (open, found) in join_all(searches).await {
            if let Some(Search { place: None, is_complete: false }) = self.note(open.queue, found) {
                partly_searched.push(open.clone());
            }
        }
        partly_searched
    }

    /// Scans whole queues, as far as there is time.
    async fn scan(&mut self, open: &[OpenQueue], prefix: &str) {
        let deadline = Instant::now() + if self.is_found() { SHORT_SCAN } else { SCAN };
        for open in open {
            let found = finder(open, prefix).scan(self.message.id, deadline).await;
            match self.note(open.queue, found) {
                Some(Search { place: Some(_), .. }) => return,
                None => {}
                // If the message is found elsewhere, an incomplete scan does not matter.
                Some(Search { is_complete, .. }) if is_complete || self.is_found() => {}
                Some(_) => self.unsearched.push(format!(
                    "a part of the queue of {}, which is long. The part around the time of receipt was searched. A replayed \
                     dead letter may be elsewhere in it",
                    open.queue
                )),
            }
        }
    }

    fn note(&mut self, queue: Queue, found: Result<Search, QueueError>) -> Option<Search> {
        match found {
            Ok(search) => {
                self.places.extend(search.place.clone().map(|place| (queue, place)));
                Some(search)
            }
            Err(error) => {
                self.unsearched.push(format!("the queue of {queue}: {error}"));
                None
            }
        }
    }
}

/// The queues that the settings name, and those that exist besides them.
async fn every_queue(settings: &Settings, databases: &Databases) -> Result<Vec<OpenQueue>, QueueError> {
    let known = KnownQueues::open(settings)?;
    // The login may have no right to read the witnesses, or the database may be away. Redis has the ledgers, too.
    let witnesses =
        WitnessStore::new(databases.state.clone()).read(&queue_prefix(&settings.queue.prefix)).await;
    known.add_named(witnesses.unwrap_or_default().iter().map(|witness| witness.queue.as_str()))?;
    known.discover().await?;
    Ok(known.all())
}

fn finder(open: &OpenQueue, prefix: &str) -> Finder {
    Finder::new(Arc::clone(&open.link), prefix, open.queue)
}

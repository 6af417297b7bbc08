//! The messages that wait for a push, already encoded into their batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet_queue::{Envelope, Producer, PushBatch};
use fleet_runtime::logging::trace_id;
use tokio::sync::{Notify, SetOnce};
use uuid::Uuid;

use super::limits::CommitLimits;
use crate::outcome::Outcome;
use crate::permits::Permits;

/// One queue's waiting messages: requests add them, the committer takes them.
#[derive(Debug)]
pub(super) struct Waiting {
    producer: Producer,
    limits: CommitLimits,
    batches: Mutex<Batches>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Batches {
    /// Only the last batch may still grow.
    batches: VecDeque<Batch>,
    messages: usize,
    closed: bool,
    /// Messages and bytes to reserve for a new batch. Follows the size of the last batches, down more slowly than up.
    room: (usize, usize),
    /// Buffer for one encoded envelope.
    item: Vec<u8>,
}

/// Messages of one push.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) push: PushBatch,
    pub(super) first: FirstMessage,
    pub(super) requests: Requests,
    /// When its first message was added.
    began: Instant,
}

/// Identifies a batch in the log.
#[derive(Debug)]
pub(super) struct FirstMessage {
    pub(super) message_id: Uuid,
    pub(super) trace_id: Option<String>,
}

/// The requests of a batch, which wait for its outcome.
#[derive(Debug)]
pub(super) struct Requests {
    outcome: Arc<SetOnce<Outcome>>,
    /// Held until the push has ended, also if the provider disconnects, because the messages are in memory until then.
    permits: Option<Permits>,
}

impl Requests {
    pub(super) fn resolve(mut self, outcome: Outcome) {
        // Before the responses: a client that has its response may send the next request at once.
        drop(self.permits.take());
        // It is set only here and on drop.
        let _set_already = self.outcome.set(outcome);
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Without an outcome only if the committer has panicked, so that the outcome is unknown, or was aborted at the end of
        // the shutdown.
        let _answered = self.outcome.set(Outcome::QueueUnavailable);
    }
}

impl Waiting {
    pub(super) fn new(producer: Producer, limits: CommitLimits) -> Self {
        Self { producer, limits, batches: Mutex::default(), arrived: Notify::new() }
    }

    /// How many messages wait.
    pub(super) fn messages(&self) -> usize {
        self.lock().messages
    }

    /// How many messages wait, if more may.
    pub(super) fn room(&self) -> Option<usize> {
        Some(self.messages()).filter(|messages| *messages < self.limits.queue)
    }

    /// Whether the batch that has waited longest cannot grow any more.
    pub(super) fn is_complete(&self) -> bool {
        self.lock().batches.len() > 1
    }

    /// Adds a message, and returns the future outcome of its batch; `None` if too many messages wait.
    pub(super) fn add(&self, envelope: &Envelope<'_>, permits: Permits) -> Option<Arc<SetOnce<Outcome>>> {
        let mut batches = self.lock();
        if batches.closed || batches.messages >= self.limits.queue {
            return None;
        }
        batches.messages += 1;
        let Batches { batches, item, room, .. } = &mut *batches;
        item.clear();
        envelope.encode_into(item);
        if let Some(batch) = batches.back_mut().filter(|batch| self.fits(&batch.push, item)) {
            match &mut batch.requests.permits {
                Some(together) => together.merge(permits),
                none => *none = Some(permits),
            }
            batch.push.add(item);
            return Some(Arc::clone(&batch.requests.outcome));
        }
        let mut push = self.producer.batch(room.0, room.1.max(item.len()));
        push.add(item);
        let trace_id = trace_id(envelope.traceparent).map(str::to_owned);
        let first = FirstMessage { message_id: envelope.message_id, trace_id };
        let outcome = Arc::new(SetOnce::new());
        let requests = Requests { outcome: Arc::clone(&outcome), permits: Some(permits) };
        batches.push_back(Batch { push, first, requests, began: Instant::now() });
        self.arrived.notify_one();
        Some(outcome)
    }

    fn fits(&self, push: &PushBatch, item: &[u8]) -> bool {
        push.messages() < self.limits.max_messages && push.bytes() + item.len() <= self.limits.max_bytes
    }

    /// The batch that has waited longest.
    pub(super) fn take(&self) -> Option<Batch> {
        self.take_if(|_batch| true)
    }

    /// The batch that has waited longest, if it has waited for so long.
    pub(super) fn take_older_than(&self, age: Duration) -> Option<Batch> {
        self.take_if(|batch| batch.began.elapsed() >= age)
    }

    fn take_if(&self, is_due: impl FnOnce(&Batch) -> bool) -> Option<Batch> {
        let mut batches = self.lock();
        batches.batches.front().filter(|batch| is_due(batch))?;
        let batch = batches.batches.pop_front()?;
        batches.messages -= batch.push.messages();
        let follow = |room: usize, size: usize| size.max(room - room / 8);
        let (messages, bytes) = batches.room;
        batches.room = (follow(messages, batch.push.messages()), follow(bytes, batch.push.bytes()));
        Some(batch)
    }

    /// Since when the batch that has waited longest waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lock().batches.front().map(|batch| batch.began)
    }

    /// Waits for a batch to take, or for the end.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Whether no message waits and none can be added.
    pub(super) fn is_finished(&self) -> bool {
        let batches = self.lock();
        batches.closed && batches.batches.is_empty()
    }

    /// Accepts no more messages. Those that wait will still be pushed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Accepts no more messages, and drops those that wait.
    pub(super) fn abandon(&self) {
        let mut batches = self.lock();
        batches.closed = true;
        batches.batches.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        // A task that panicked here has at worst not added its own message.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One push for all requests that arrived while the last push was under way.
//!
//! Per provider one task owns the pushing. It adds no wait of its own: an idle task pushes a lone message at once, a
//! busy one finds the next batch already waiting. So one provider's bomb fills its own batches, and nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleet_planted::{Plant, is_planted};
use fleet_queue::{Envelope, Producer, QueueError};
use fleet_runtime::liveness::idle;
use fleet_runtime::logging::trace_id;
use tokio::sync::{mpsc, oneshot};

use crate::answer::Outcome;
use crate::metrics::{self, CommitMetrics, Shed, ShedMetrics};
use crate::webhook::Permits;

/// How often the backlog is read while it is above its cap.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(200);

/// Bounds of the pushes.
#[derive(Clone, Copy, Debug)]
pub struct CommitLimits {
    /// Most messages in one push.
    pub max_messages: usize,
    /// Most bytes in one push; a single larger message is pushed alone.
    pub max_bytes: usize,
    /// Most messages that wait for a push.
    pub queue: usize,
    /// Most bytes of the provider that wait in Redis or are being worked on.
    pub max_backlog_bytes: u64,
}

/// Hands messages to one provider's pushing task.
#[derive(Clone, Debug)]
pub struct GroupCommit {
    sender: mpsc::Sender<Pending>,
    shedding: Arc<AtomicBool>,
    shed: ShedMetrics,
}

#[derive(Debug)]
struct Pending {
    item: Vec<u8>,
    reply: oneshot::Sender<Outcome>,
    /// Until the push, even if the provider hangs up: the message is in memory until then.
    permits: Permits,
}

impl GroupCommit {
    /// The handle, and the task's future: it ends when every handle is gone and every message is answered.
    pub fn new(
        producer: Producer,
        limits: CommitLimits,
        metrics: CommitMetrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(limits.queue);
        let shedding = Arc::new(AtomicBool::new(false));
        let shed = metrics.shed.clone();
        let committer =
            Committer { producer, limits, metrics, receiver, held: None, shedding: Arc::clone(&shedding) };
        (Self { sender, shedding, shed }, committer.run())
    }

    /// The provider's backlog is above its cap: messages are refused.
    pub fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Acquire)
    }

    /// Pushes one envelope; [`Outcome::Accepted`] only after Redis has replied.
    pub async fn push(&self, item: Vec<u8>, permits: Permits) -> Outcome {
        let (reply, answer) = oneshot::channel();
        if self.sender.try_send(Pending { item, reply, permits }).is_err() {
            self.shed.count(Shed::CommitQueueFull);
            return Outcome::Busy;
        }
        if is_planted(Plant::PushUnconfirmed) {
            return Outcome::Accepted;
        }
        // The task is gone only if it panicked, and then nobody knows what became of the message.
        answer.await.unwrap_or(Outcome::QueueUnavailable)
    }
}

struct Committer {
    producer: Producer,
    limits: CommitLimits,
    metrics: CommitMetrics,
    receiver: mpsc::Receiver<Pending>,
    /// Did not fit into the last batch.
    held: Option<Pending>,
    shedding: Arc<AtomicBool>,
}

impl Committer {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let mut items = Vec::with_capacity(batch.len());
            let mut waiting = Vec::with_capacity(batch.len());
            for Pending { item, reply, permits } in batch {
                items.push(item);
                waiting.push((reply, permits));
            }
            let outcome = self.push(&items).await;
            for (reply, permits) in waiting {
                drop(permits);
                // A provider that has hung up does not hear it.
                let _hung_up = reply.send(outcome);
            }
            if self.shedding.load(Ordering::Acquire) {
                self.wait_for_room().await;
            }
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<Pending>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => idle(self.receiver.recv()).await?,
        };
        let mut bytes = first.item.len();
        let mut batch = vec![first];
        while batch.len() < self.limits.max_messages {
            let Ok(next) = self.receiver.try_recv() else { break };
            bytes += next.item.len();
            if bytes > self.limits.max_bytes {
                self.held = Some(next);
                break;
            }
            batch.push(next);
        }
        Some(batch)
    }

    async fn push(&self, items: &[Vec<u8>]) -> Outcome {
        let started = Instant::now();
        let result = self.producer.push(items).await;
        self.metrics.pushed(items.len(), started.elapsed());
        match result {
            Ok(backlog_bytes) => {
                if backlog_bytes > self.limits.max_backlog_bytes {
                    self.shed(true, backlog_bytes);
                }
                Outcome::Accepted
            }
            Err(error) => {
                self.report(&error, items);
                Outcome::QueueUnavailable
            }
        }
    }

    /// Refuses everything until the backlog is below nine tenths of its cap.
    async fn wait_for_room(&mut self) {
        let cap_bytes = self.limits.max_backlog_bytes;
        let mut interval = tokio::time::interval(BACKLOG_INTERVAL);
        while self.shedding.load(Ordering::Acquire) {
            let waiting = self.held.take();
            let pending = match waiting {
                Some(pending) => Some(pending),
                None => tokio::select! {
                    pending = self.receiver.recv() => match pending {
                        Some(pending) => Some(pending),
                        None => return,
                    },
                    _tick = interval.tick() => None,
                },
            };
            if let Some(pending) = pending {
                self.metrics.shed.count(Shed::BacklogFull);
                let _hung_up = pending.reply.send(Outcome::BacklogFull);
                continue;
            }
            match self.producer.backlog_bytes().await {
                Ok(bytes) if bytes <= cap_bytes - cap_bytes / 10 => self.shed(false, bytes),
                Ok(_still_full) => {}
                Err(error) => self.report(&error, &[]),
            }
        }
    }

    fn shed(&self, shedding: bool, backlog_bytes: u64) {
        self.shedding.store(shedding, Ordering::Release);
        self.metrics.shedding(shedding);
        let cap_bytes = self.limits.max_backlog_bytes;
        if shedding {
            tracing::warn!(
                provider = self.metrics.provider,
                backlog_bytes,
                cap_bytes,
                "backlog above its cap: answering 503 until consumers catch up"
            );
        } else {
            tracing::info!(
                provider = self.metrics.provider,
                backlog_bytes,
                cap_bytes,
                "backlog below its cap again: taking webhooks"
            );
        }
    }

    /// One line for all the requests of a push; it names the first. Without `items`, a read of the backlog failed.
    fn report(&self, error: &QueueError, items: &[Vec<u8>]) {
        metrics::redis_error(error.kind());
        let provider = self.metrics.provider;
        let first = items.first().and_then(|item| Envelope::decode(item).ok());
        let Some(first) = first else {
            tracing::warn!(provider, %error, "Redis did not say how long the backlog is: answering 503");
            return;
        };
        for _ in items {
            self.metrics.shed.count(Shed::RedisUnavailable);
        }
        tracing::warn!(
            provider,
            messages = items.len(),
            message_id = %first.message_id,
            trace_id = trace_id(first.traceparent),
            %error,
            "Redis did not take a push, whose first message is named: answering 503"
        );
    }
}

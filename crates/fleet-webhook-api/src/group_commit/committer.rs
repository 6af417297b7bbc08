//! The task that pushes webhooks into one queue in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Ledger, Producer, PushBatch, PushHistory, Pushed, QueueError, ShardHealthRecord};
use fleet_runtime::liveness::idle;

use super::cap::Cap;
use super::push_log::PushLog;
use super::replica_wait::{PROVE_EVERY, ReplicaWait};
use super::share::Share;
use super::waiting::{Batch, FirstMessage, Requests, Waiting};
use crate::metrics::{self, CommitMetrics, Shed};
use crate::outcome::Outcome;

/// How often the backlog is read while it is above its cap.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(200);

/// How often the ledger is read while a provider sends nothing and its last messages are not settled.
const LEDGER_INTERVAL: Duration = Duration::from_secs(2);

/// Most looks at the sockets before a push.
const MAX_LOOKS: u32 = 8;

/// Owns everything that the pushes to one queue need.
pub(super) struct Committer {
    producer: Producer,
    cap: Cap,
    share: Share,
    metrics: CommitMetrics,
    waiting: Arc<Waiting>,
    history: PushHistory,
    log: PushLog,
    /// Absent if pushes wait for no replica.
    replicas: Option<ReplicaWait>,
    health: ShardHealthRecord,
}

/// Runs also if the task panics, so that no request waits for a push that will not happen.
impl Drop for Committer {
    fn drop(&mut self) {
        self.waiting.abandon();
    }
}

impl Committer {
    pub(super) fn new(
        producer: Producer,
        cap: Cap,
        share: Share,
        metrics: CommitMetrics,
        waiting: Arc<Waiting>,
        replicas: Option<ReplicaWait>,
        health: ShardHealthRecord,
    ) -> Self {
        let log = PushLog::new(metrics.clone());
        Self {
            producer,
            cap,
            share,
            metrics,
            waiting,
            history: PushHistory::default(),
            log,
            replicas,
            health,
        }
    }

    /// Pushes until no request brings a message any more.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.next().await {
            let Batch { push, first, requests, .. } = batch;
            let (started, bytes) = (Instant::now(), push.bytes());
            self.share.before_push();
            self.push(push, &first, requests).await;
            self.share.after_push(bytes, started.elapsed());
            if self.cap.is_shedding() {
                self.wait_for_room().await;
            }
        }
    }

    async fn next(&mut self) -> Option<Batch> {
        loop {
            if let Some(pause) = self.share.pause() {
                idle(tokio::time::sleep(pause)).await;
            }
            self.gather().await;
            if let Some(batch) = self.waiting.take() {
                return Some(batch);
            }
            if self.waiting.is_finished() {
                return None;
            }
            self.arrival().await;
        }
    }

    /// Waits for the next message. Meanwhile reads the ledger until the last messages are settled, and after a failed push.
    async fn arrival(&mut self) {
        if self.replicas.as_ref().is_some_and(ReplicaWait::is_owed) {
            return self.arrival_or_confirmation().await;
        }
        let owed = self.history.is_owed().then_some(LEDGER_INTERVAL);
        let Some(pause) = self.health.pause().or(owed) else { return idle(self.waiting.arrival()).await };
        let look = async {
            tokio::time::sleep(pause).await;
            self.producer.ledger().await
        };
        // A message that arrives ends the read.
        tokio::select! {
            () = self.waiting.arrival() => {}
            looked = look => match looked {
                Ok(ledger) => {
                    self.history.looked(&ledger);
                    self.health.responds();
                }
                Err(error) if error.is_broken_key() => {
                    self.history.forget();
                    self.health.responds();
                }
                Err(_next_time) => {}
            }
        }
    }

    /// Waits for the next message, and asks from time to time whether replicas confirm writes again.
    async fn arrival_or_confirmation(&mut self) {
        if tokio::time::timeout(PROVE_EVERY, self.waiting.arrival()).await.is_ok() {
            return;
        }
        // A message that arrives meanwhile waits: if this were cancelled, the WAIT would still block the connection.
        let proven = self.producer.prove().await;
        let Some(replicas) = &mut self.replicas else { return };
        match proven {
            Ok(()) => {
                replicas.confirmed();
                self.health.responds();
            }
            Err(error) => {
                metrics::redis_error(error.kind());
                replicas.withheld();
                replicas.expire_early();
            }
        }
    }

    /// Lets the requests that are in the sockets by now join the batch, as long as each look brings more. Connections that
    /// received their responses together send their next requests together; without this, such connections fall into two
    /// groups that take turns.
    async fn gather(&self) {
        let mut messages = self.waiting.messages();
        for _look in 0..MAX_LOOKS {
            tokio::task::yield_now().await;
            let waiting = self.waiting.messages();
            if waiting == messages || self.waiting.is_complete() {
                return;
            }
            messages = waiting;
        }
    }

    async fn push(&mut self, batch: PushBatch, first: &FirstMessage, requests: Requests) {
        let (started, messages, bytes) = (Instant::now(), batch.messages(), batch.bytes());
        let result = self.producer.push_batch(batch).await;
        self.metrics.pushed(messages, started.elapsed());
        let Pushed { waiting_messages, ledger, unconfirmed } = match result {
            Ok(pushed) => pushed,
            Err(error) => return self.failed(&error, messages, first, requests),
        };
        self.log.succeeded_push();
        let requests = match (unconfirmed, &mut self.replicas) {
            (Some(push), Some(replicas)) => {
                self.health.failed();
                if !replicas.wait(push, requests, messages, started).await {
                    return;
                }
                None
            }
            (None, Some(replicas)) => {
                replicas.confirmed();
                Some(requests)
            }
            (None, None) => Some(requests),
            // Never: the producer waits for replicas if and only if this task does.
            (Some(push), None) => {
                self.producer.give_up(push).await;
                return requests.resolve(Outcome::Unconfirmed);
            }
        };
        self.health.succeeded();
        let (messages, bytes) = (wide(messages), wide(bytes));
        match ledger {
            Ok(ledger) => self.counted(&ledger, messages),
            Err(error) => {
                self.log.failed_count(&error, messages);
                self.history.forget();
                // Only the length of the list is known then.
                self.cap.pushed(waiting_messages.saturating_mul(bytes / messages.max(1)));
            }
        }
        if let Some(requests) = requests {
            requests.resolve(Outcome::Accepted);
        }
    }

    /// Answers the requests of a push that failed.
    fn failed(&mut self, error: &QueueError, messages: usize, first: &FirstMessage, requests: Requests) {
        self.health.failed();
        self.log.failed_push(error, messages, first);
        let is_unconfirmed = matches!(error, QueueError::Unconfirmed(_));
        requests.resolve(if is_unconfirmed { Outcome::Unconfirmed } else { Outcome::QueueUnavailable });
        if let Some(replicas) = self.replicas.as_mut().filter(|_replicas| is_unconfirmed) {
            replicas.withheld();
            replicas.expire_early();
        }
    }

    /// Evaluates the ledger as it is after a push.
    fn counted(&mut self, ledger: &Ledger, messages: u64) {
        self.log.succeeded_count();
        if let Some(loss) = self.history.pushed(ledger, messages) {
            self.log.loss(loss);
        }
        self.cap.pushed(ledger.backlog().bytes);
    }

    /// Refuses webhooks until the backlog is below nine tenths of its cap. If the ledger cannot be read because its key is
    /// broken, the next push decides.
    async fn wait_for_room(&mut self) {
        let mut interval = tokio::time::interval(BACKLOG_INTERVAL);
        // The push has just read the backlog.
        interval.reset();
        while self.cap.is_shedding() {
            while let Some(batch) = self.waiting.take() {
                self.metrics.shed.count_all(Shed::BacklogFull, batch.push.messages());
                batch.requests.resolve(Outcome::BacklogFull);
            }
            if self.waiting.is_finished() {
                return;
            }
            tokio::select! {
                () = self.waiting.arrival() => continue,
                _tick = interval.tick() => {}
            }
            match self.producer.ledger().await.map(|ledger| ledger.backlog().bytes) {
                Ok(bytes) => {
                    self.log.succeeded_read();
                    self.cap.looked(bytes);
                }
                Err(error) if error.is_broken_key() => self.cap.probe(),
                Err(error) => self.log.failed_read(&error),
            }
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

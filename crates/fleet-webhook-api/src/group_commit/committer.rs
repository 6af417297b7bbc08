//! The task that pushes one provider's webhooks into Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Ledger, Producer, PushBatch, PushHistory, Pushed};
use fleet_runtime::liveness::idle;

use super::cap::Cap;
use super::push_log::PushLog;
use super::share::Share;
use super::waiting::{Batch, FirstMessage, Waiting};
use crate::metrics::{CommitMetrics, Shed};
use crate::outcome::Outcome;

/// How often the backlog is read while it is above its cap.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(200);

/// How often the ledger is read while a provider sends nothing and its last messages are not settled.
const LEDGER_INTERVAL: Duration = Duration::from_secs(2);

/// Most looks at the sockets before a push.
const MAX_LOOKS: u32 = 8;

/// Owns everything that the pushes of one provider need.
pub(super) struct Committer {
    producer: Producer,
    cap: Cap,
    share: Share,
    metrics: CommitMetrics,
    waiting: Arc<Waiting>,
    history: PushHistory,
    log: PushLog,
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
    ) -> Self {
        let log = PushLog::new(metrics.clone());
        Self { producer, cap, share, metrics, waiting, history: PushHistory::default(), log }
    }

    /// Pushes until no request brings a message any more.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.next().await {
            let Batch { push, first, requests } = batch;
            let (started, bytes) = (Instant::now(), push.bytes());
            self.share.before_push();
            requests.resolve(self.push(push, &first).await);
            let pause = self.share.after_push(bytes, started.elapsed());
            if !pause.is_zero() {
                idle(tokio::time::sleep(pause)).await;
            }
            if self.cap.is_shedding() {
                self.wait_for_room().await;
            }
        }
    }

    async fn next(&mut self) -> Option<Batch> {
        loop {
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

    /// Waits for the next message. Meanwhile reads the ledger until the last messages are settled.
    async fn arrival(&mut self) {
        if !self.history.is_owed() {
            return idle(self.waiting.arrival()).await;
        }
        let look = async {
            tokio::time::sleep(LEDGER_INTERVAL).await;
            self.producer.ledger().await
        };
        // A message that arrives ends the read.
        tokio::select! {
            () = self.waiting.arrival() => {}
            looked = look => match looked {
                Ok(ledger) => self.history.looked(&ledger),
                Err(error) if error.is_broken_key() => self.history.forget(),
                Err(_next_time) => {}
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

    async fn push(&mut self, batch: PushBatch, first: &FirstMessage) -> Outcome {
        let (started, messages, bytes) = (Instant::now(), batch.messages(), batch.bytes());
        let result = self.producer.push_batch(batch).await;
        self.metrics.pushed(messages, started.elapsed());
        let Pushed { waiting_messages, ledger } = match result {
            Ok(pushed) => pushed,
            Err(error) => {
                self.log.failed_push(&error, messages, first);
                return Outcome::QueueUnavailable;
            }
        };
        self.log.succeeded_push();
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
        Outcome::Accepted
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

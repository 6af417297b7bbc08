//! One push for all requests that arrived while the last push was under way.
//!
//! Per provider one task owns the pushing. It waits for no clock: an idle task pushes a lone message after a look at the
//! sockets, a busy one finds the next batch already waiting. So one provider's bomb fills its own batches, and nobody
//! else's. Only after a large push it leaves the others their [`Share`] of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleet_planted::{Plant, is_planted};
use fleet_queue::{Envelope, HistoryLoss, Ledger, Producer, PushBatch, PushHistory, Pushed, QueueError};
use fleet_runtime::liveness::idle;
use fleet_runtime::outage::{Failing, OutageLog, Over};

use self::cap::Cap;
pub use self::share::Share;
use self::waiting::{Batch, FirstMessage, Waiting};
use crate::admission::Permits;
use crate::metrics::{self, CommitMetrics, Shed, ShedMetrics};
use crate::response::Outcome;

mod cap;
mod share;
mod waiting;

/// How often the backlog is read while it is above its cap.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(200);

/// How often the ledger is read while a provider sends nothing and its last messages are not settled.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Most looks into the sockets before a push.
const LOOKS: u32 = 8;

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
#[derive(Debug)]
pub struct GroupCommit {
    waiting: Arc<Waiting>,
    shedding: Arc<AtomicBool>,
    shed: ShedMetrics,
}

impl GroupCommit {
    /// The handle, and the task's future: it ends when the handle is gone and every message is answered.
    pub fn new(
        producer: Producer,
        limits: CommitLimits,
        share: Share,
        metrics: CommitMetrics,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let waiting = Arc::new(Waiting::new(producer.clone(), limits));
        let shedding = Arc::new(AtomicBool::new(false));
        let shed = metrics.shed.clone();
        let committer = Committer {
            producer,
            cap: Cap::new(limits.max_backlog_bytes, Arc::clone(&shedding), metrics.clone()),
            share,
            metrics,
            waiting: Arc::clone(&waiting),
            history: PushHistory::default(),
            failed_pushes: OutageLog::default(),
            uncounted_pushes: OutageLog::default(),
            failed_looks: OutageLog::default(),
        };
        (Self { waiting, shedding, shed }, committer.run())
    }

    /// The provider's backlog is above its cap: messages are refused.
    pub fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Acquire)
    }

    /// Puts one message into the next push, whose outcome the future waits for: [`Outcome::Accepted`] only after Redis
    /// has replied.
    pub fn push(
        &self,
        envelope: &Envelope<'_>,
        permits: Permits,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let added = self.waiting.add(envelope, permits);
        if added.is_none() {
            self.shed.count(Shed::CommitQueueFull);
        }
        async move {
            match added {
                None => Outcome::Busy,
                Some(_outcome) if is_planted(Plant::PushUnconfirmed) => Outcome::Accepted,
                Some(outcome) => *outcome.wait().await,
            }
        }
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

struct Committer {
    producer: Producer,
    cap: Cap,
    share: Share,
    metrics: CommitMetrics,
    waiting: Arc<Waiting>,
    history: PushHistory,
    /// Counts webhooks.
    failed_pushes: OutageLog,
    /// Counts webhooks.
    uncounted_pushes: OutageLog,
    /// Counts reads of the backlog while it is above its cap.
    failed_looks: OutageLog,
}

/// Also if the task panics: no request waits for a push that will not come.
impl Drop for Committer {
    fn drop(&mut self) {
        self.waiting.abandon();
    }
}

impl Committer {
    async fn run(mut self) {
        while let Some(batch) = self.next().await {
            let Batch { push, first, requests } = batch;
            let (started, bytes) = (Instant::now(), push.bytes());
            self.share.before_push();
            requests.answer(self.push(push, &first).await);
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

    /// Waits for the next message, and looks meanwhile at what becomes of the last ones.
    async fn arrival(&mut self) {
        if !self.history.is_owed() {
            return idle(self.waiting.arrival()).await;
        }
        let look = async {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.producer.ledger().await
        };
        // A message waits for no look.
        tokio::select! {
            () = self.waiting.arrival() => {}
            looked = look => match looked {
                Ok(ledger) => self.history.looked(&ledger),
                Err(error) if error.is_broken_key() => self.history.forget(),
                Err(_next_time) => {}
            }
        }
    }

    /// Lets the requests that are in the sockets by now come along, as long as each look brings more. Connections that
    /// were answered together ask again together; without this they fall into two groups that take turns.
    async fn gather(&self) {
        let mut messages = self.waiting.messages();
        for _look in 0..LOOKS {
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
                self.report(&error, messages, first);
                return Outcome::QueueUnavailable;
            }
        };
        self.report_recovery();
        let (messages, bytes) = (wide(messages), wide(bytes));
        match ledger {
            Ok(ledger) => self.counted(&ledger, messages),
            Err(error) => {
                self.report_uncounted(&error, messages);
                self.history.forget();
                // The list's length is what is left to go by.
                self.cap.pushed(waiting_messages.saturating_mul(bytes / messages.max(1)));
            }
        }
        Outcome::Accepted
    }

    /// Looks at the ledger behind a push.
    fn counted(&mut self, ledger: &Ledger, messages: u64) {
        self.report_counting();
        if let Some(loss) = self.history.pushed(ledger, messages) {
            self.report_loss(loss);
        }
        self.cap.pushed(ledger.backlog().bytes);
    }

    /// Refuses everything until the backlog is below nine tenths of its cap. If the ledger cannot tell, the next push does.
    async fn wait_for_room(&mut self) {
        let mut interval = tokio::time::interval(BACKLOG_INTERVAL);
        // The push has just told.
        interval.reset();
        while self.cap.is_shedding() {
            while let Some(batch) = self.waiting.take() {
                self.metrics.shed.count_all(Shed::BacklogFull, batch.push.messages());
                batch.requests.answer(Outcome::BacklogFull);
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
                    self.report_look();
                    self.cap.looked(bytes);
                }
                Err(error) if error.is_broken_key() => self.cap.probe(),
                Err(error) => self.report_failed_look(&error),
            }
        }
    }

    /// Redis had told this process of messages that it has forgotten since.
    fn report_loss(&self, loss: HistoryLoss) {
        let HistoryLoss { missing_messages } = loss;
        let provider = self.metrics.provider;
        self.metrics.unaccounted(missing_messages);
        if missing_messages == 0 {
            tracing::warn!(
                provider,
                "Redis has gone back behind what it had confirmed; everything that it has forgotten was stored before"
            );
        } else {
            tracing::error!(
                provider,
                missing_messages,
                "Redis has gone back behind what it had confirmed: up to so many webhooks that were answered 200 are gone; \
                 see the runbook, FleetWebhooksUnaccounted"
            );
        }
    }

    /// At most a line a minute; it names the first message of the latest push.
    fn report(&mut self, error: &QueueError, messages: usize, first: &FirstMessage) {
        metrics::redis_error(error.kind());
        self.metrics.shed.count_all(Shed::RedisUnavailable, messages);
        let (provider, kind) = (self.metrics.provider, error.kind());
        tracing::debug!(provider, messages, kind, %error, "a push failed");
        if let Some(Failing { failures, lasted }) = self.failed_pushes.failed(Instant::now(), wide(messages))
        {
            tracing::warn!(
                provider,
                messages = failures,
                seconds = lasted.as_secs(),
                message_id = %first.message_id,
                trace_id = first.trace_id,
                kind,
                %error,
                "Redis did not take a push, whose first message is named: answering 503"
            );
        }
    }

    fn report_recovery(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_pushes.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                messages = failures,
                seconds = lasted.as_secs(),
                "Redis takes pushes again"
            );
        }
    }

    /// At most a line a minute.
    fn report_uncounted(&mut self, error: &QueueError, messages: u64) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.uncounted_pushes.failed(Instant::now(), messages) {
            tracing::warn!(
                provider = self.metrics.provider,
                messages = failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "Redis took a push and could not count it: answering 200, and judging the backlog by the queue's length"
            );
        }
    }

    fn report_counting(&mut self) {
        if let Some(Over { failures, lasted }) = self.uncounted_pushes.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                messages = failures,
                seconds = lasted.as_secs(),
                "Redis counts pushes again"
            );
        }
    }

    fn report_failed_look(&mut self, error: &QueueError) {
        metrics::redis_error(error.kind());
        if let Some(Failing { failures, lasted }) = self.failed_looks.failed(Instant::now(), 1) {
            tracing::warn!(
                provider = self.metrics.provider,
                failures,
                seconds = lasted.as_secs(),
                kind = error.kind(),
                %error,
                "Redis did not say how long the backlog is: answering 503"
            );
        }
    }

    fn report_look(&mut self) {
        if let Some(Over { failures, lasted }) = self.failed_looks.succeeded(Instant::now()) {
            tracing::info!(
                provider = self.metrics.provider,
                failures,
                seconds = lasted.as_secs(),
                "Redis says again how long the backlog is"
            );
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

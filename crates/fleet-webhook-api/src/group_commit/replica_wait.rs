//! Waits for the replicas that must confirm a push.
//!
//! The messages of an unconfirmed push are in the queue. So it is not pushed again, and nothing else is pushed: the committer
//! asks on the same connection until the replicas have confirmed it. Meanwhile each request waits for the timeout of a call to
//! Redis at most, and is then answered 503.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Confirmation, Producer, QueueError, Unconfirmed};
use tokio::time::sleep_until;

use super::replica_log::ReplicaLog;
use super::waiting::{Requests, Waiting};
use crate::metrics::{CommitMetrics, Shed};
use crate::outcome::Outcome;

/// How many timeouts a push may stay unconfirmed on its connection. Then the connection is left, because its server may not be
/// the primary any more.
const TIMEOUTS: u32 = 3;

/// How often the committer asks whether replicas confirm writes again while the provider sends nothing.
pub(super) const PROVE_EVERY: Duration = Duration::from_secs(1);

/// Waits for replicas on behalf of one provider's pushes.
pub(super) struct ReplicaWait {
    producer: Producer,
    waiting: Arc<Waiting>,
    metrics: CommitMetrics,
    /// Longest wait of a request.
    patience: Duration,
    log: ReplicaLog,
    /// When the replicas failed to confirm something for the first time since their last confirmation.
    since: Option<Instant>,
}

/// The requests of an unconfirmed push.
struct Pushed {
    /// Absent once they are answered.
    requests: Option<Requests>,
    messages: usize,
    began: Instant,
}

impl ReplicaWait {
    /// `patience` is the longest wait of a request.
    pub(super) fn new(
        producer: Producer,
        waiting: Arc<Waiting>,
        metrics: CommitMetrics,
        patience: Duration,
    ) -> Self {
        let log = ReplicaLog::new(metrics.queue);
        Self { producer, waiting, metrics, patience, log, since: None }
    }

    /// Whether replicas have failed to confirm something since their last confirmation.
    pub(super) fn is_owed(&self) -> bool {
        self.since.is_some()
    }

    /// Notes a confirmation.
    pub(super) fn confirmed(&mut self) {
        if self.since.take().is_some() {
            self.metrics.awaiting_replicas(None);
            self.log.confirmed();
        }
    }

    /// Notes that nothing can be pushed, because too few replicas confirm writes.
    pub(super) fn withheld(&mut self) {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.metrics.awaiting_replicas(Some(since.elapsed()));
    }

    /// Answers the requests that have waited for too long for a push.
    fn expire(&self) {
        self.refuse_older_than(self.patience);
    }

    /// Answers the requests for which the next push may come too late: on a new connection, replicas have up to two thirds of
    /// the timeout to confirm the first write.
    pub(super) fn expire_early(&self) {
        self.refuse_older_than(self.patience / 3);
    }

    fn refuse_older_than(&self, age: Duration) {
        while let Some(batch) = self.waiting.take_older_than(age) {
            self.metrics.shed.count_all(Shed::Unconfirmed, batch.push.messages());
            batch.requests.resolve(Outcome::Unconfirmed);
        }
    }

    /// Waits until replicas have confirmed this push, which began at `began`, and answers its requests. Returns whether they
    /// have confirmed it. If not, nothing may be pushed on its connection.
    pub(super) async fn wait(
        &mut self,
        push: Unconfirmed,
        requests: Requests,
        messages: usize,
        began: Instant,
    ) -> bool {
        self.metrics.unconfirmed();
        self.withheld();
        let mut pushed = Pushed { requests: Some(requests), messages, began };
        let confirmed = self.ask_until_confirmed(&push, &mut pushed).await;
        if confirmed {
            self.confirmed();
        } else {
            self.producer.give_up(push).await;
        }
        self.answer(&mut pushed, if confirmed { Outcome::Accepted } else { Outcome::Unconfirmed });
        confirmed
    }

    async fn ask_until_confirmed(&mut self, push: &Unconfirmed, pushed: &mut Pushed) -> bool {
        loop {
            match self.ask(push, pushed).await {
                Some(Ok(found)) if found.is_complete() => return true,
                Some(Ok(found)) => {
                    self.withheld();
                    self.log.unconfirmed(found);
                    if pushed.began.elapsed() >= self.patience * TIMEOUTS {
                        self.log.gave_up(pushed.began.elapsed());
                        return false;
                    }
                }
                Some(Err(error)) => {
                    self.log.failed(&error);
                    return false;
                }
                // The shutdown. Nobody waits for the confirmation.
                None => return false,
            }
        }
    }

    /// Asks once. Meanwhile answers the requests that have waited for too long. `None` if no request is left and none can come.
    async fn ask(&self, push: &Unconfirmed, pushed: &mut Pushed) -> Option<Result<Confirmation, QueueError>> {
        let asking = self.producer.confirm(push);
        tokio::pin!(asking);
        loop {
            self.expire();
            if pushed.began.elapsed() >= self.patience {
                self.answer(pushed, Outcome::Unconfirmed);
            }
            if pushed.requests.is_none() && self.waiting.is_finished() {
                return None;
            }
            let began = pushed.requests.as_ref().map(|_requests| pushed.began);
            // Without requests it wakes after the timeout of a call, when the reply is there.
            let oldest = began.into_iter().chain(self.waiting.oldest()).min().unwrap_or_else(Instant::now);
            tokio::select! {
                asked = &mut asking => return Some(asked),
                () = sleep_until((oldest + self.patience).into()) => {}
                () = self.waiting.arrival() => {}
            }
        }
    }

    fn answer(&self, pushed: &mut Pushed, outcome: Outcome) {
        if let Some(requests) = pushed.requests.take() {
            if outcome == Outcome::Unconfirmed {
                self.metrics.shed.count_all(Shed::Unconfirmed, pushed.messages);
            }
            requests.resolve(outcome);
        }
    }
}

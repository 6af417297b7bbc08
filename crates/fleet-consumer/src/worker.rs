//! One queue's worker group.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_planted::{Plant, is_planted};
use fleet_providers::{Limits, Provider};
use fleet_queue::{Consumer, Envelope, Lease, Mark, QueueError};
use fleet_runtime::liveness::idle;
use fleet_runtime::settings::ConsumerSettings;
use fleet_store::StoreError;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::batch::{Fault, Record, parse_item, refuse_item};
use crate::metrics::{self, BatchCounts, Heartbeat, LeaseFate};
use crate::poll::{Poller, Taken};
use crate::throttle::Throttle;
use crate::write::{Writer, Written};

/// So many deaths under a mark, and the batch's messages are parsed one by one.
const MAX_TAKEOVERS: u32 = 3;

/// How long a batch may be with the databases before its mark is taken away.
const NOTE_AFTER: Duration = Duration::from_millis(200);

/// Works on one queue; `batches_in_flight` loops share it.
#[derive(Debug)]
pub struct Worker {
    provider: &'static Provider,
    limits: Limits,
    consumer: Consumer,
    settings: ConsumerSettings,
    poller: Mutex<Poller>,
    writer: Writer,
    throttle: Arc<Throttle>,
}

/// How the work on a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Settled,
    Lost,
    Released,
}

/// Why a worker stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error(
    "a batch of {provider} cannot be stored: {source}. It stays leased; fix the cause and start the consumer again"
)]
pub struct WorkerError {
    provider: &'static str,
    source: StoreError,
}

impl Worker {
    /// A worker on `provider`'s queue.
    pub fn new(
        provider: &'static Provider,
        limits: Limits,
        consumer: Consumer,
        settings: ConsumerSettings,
        writer: Writer,
        throttle: Arc<Throttle>,
    ) -> Self {
        let poller = Mutex::new(Poller::new(consumer.clone(), &settings));
        Self { provider, limits, consumer, settings, poller, writer, throttle }
    }

    /// Name of its queue.
    pub fn queue(&self) -> &'static str {
        self.provider.slug
    }

    /// Takes and settles batches until `shutdown`; a batch at work has until `deadline` and is released then.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if a database refuses in a way that trying again cannot help.
    pub async fn run(
        &self,
        shutdown: &CancellationToken,
        deadline: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut pause = self.settings.retry_min;
        loop {
            // Another loop of this group may poll an empty queue for hours.
            let next = async { idle(self.poller.lock()).await.next().await };
            let taken = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.finish(deadline).await,
                taken = next => taken,
            };
            match taken {
                Ok(taken) => {
                    pause = self.settings.retry_min;
                    self.work(taken, deadline).await?;
                }
                Err(error) => {
                    report(&error);
                    // Not past a shutdown, which may have less time than this.
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.cancelled() => {}
                    }
                    pause = (pause * 2).min(self.settings.retry_max);
                }
            }
        }
    }

    /// Works on what a claim under way at the shutdown has taken: released, it would wait until another consumer looks for
    /// batches to take over.
    async fn finish(&self, deadline: &CancellationToken) -> Result<(), WorkerError> {
        let last = self.poller.lock().await.last().await;
        match last {
            Ok(Some(taken)) => self.work(taken, deadline).await,
            Ok(None) => Ok(()),
            Err(error) => {
                report(&error);
                Ok(())
            }
        }
    }

    async fn work(&self, taken: Taken, deadline: &CancellationToken) -> Result<(), WorkerError> {
        let slug = self.provider.slug;
        let (lease, taken_over) = match taken {
            Taken::Claimed(lease) => (lease, false),
            Taken::TakenOver(lease) => (lease, true),
        };
        metrics::lease(slug, if taken_over { LeaseFate::TakenOver } else { LeaseFate::Claimed });
        if taken_over {
            tracing::info!(
                queue = slug, lease_id = %lease.id, messages = lease.items.len(), takeovers = lease.takeovers,
                "took a batch over from a consumer that let it expire or released it"
            );
        }
        let mut heartbeat = AbortOnDropHandle::new(tokio::spawn(keep(
            slug,
            self.consumer.clone(),
            lease.without_items(),
            self.settings.lease,
            self.settings.heartbeat,
        )));
        if taken_over && is_planted(Plant::DropLease) {
            self.persist(|| self.consumer.ack(&lease)).await;
            return Ok(());
        }
        let stored = tokio::select! {
            stored = self.store(&lease, taken_over) => {
                Some(stored.map_err(|source| WorkerError { provider: slug, source })?)
            }
            ended = &mut heartbeat => match ended {
                Ok(()) => Some(false),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            () = deadline.cancelled() => None,
        };
        // Behind an ack a heartbeat would find the lease gone and count it as lost; behind a release it would hold it.
        drop(heartbeat);
        let ended = match stored {
            Some(true) => tokio::select! {
                ended = self.ack(&lease) => ended,
                () = deadline.cancelled() => self.release(&lease).await,
            },
            Some(false) => Ended::Lost,
            None => self.release(&lease).await,
        };
        match ended {
            Ended::Settled => metrics::lease(slug, LeaseFate::Settled),
            Ended::Released => metrics::lease(slug, LeaseFate::Released),
            Ended::Lost => {
                metrics::lease(slug, LeaseFate::Lost);
                tracing::warn!(queue = slug, lease_id = %lease.id, "the lease is gone: another consumer has taken the batch over, or the reply to an ack was lost");
            }
        }
        Ok(())
    }

    /// Parses and writes. `false`: the batch is another consumer's by now.
    async fn store(&self, lease: &Lease, taken_over: bool) -> Result<bool, StoreError> {
        let started = Instant::now();
        let mut records = Vec::with_capacity(lease.items.len());
        let (counts, mark) = if lease.takeovers < MAX_TAKEOVERS {
            (self.parse(lease, &mut records), Mark::Clear)
        } else {
            match self.parse_singly(lease, &mut records).await {
                Some(parsed) => parsed,
                None => return Ok(false),
            }
        };
        if is_planted(Plant::AckBeforeCommit) {
            self.persist(|| self.consumer.ack(lease)).await;
        }
        let (noted, written) = self.write_noted(lease, &mark, self.write(lease, taken_over, &records)).await;
        let written = written?;
        let counts = with_written(counts, written);
        let slug = self.provider.slug;
        metrics::settled(slug, counts, lease.items.len(), started.elapsed(), age(lease));
        tracing::debug!(queue = slug, lease_id = %lease.id, ?counts, "stored a batch");
        Ok(noted)
    }

    /// Waits for the databases, and notes meanwhile that what follows cannot be the messages' fault. `false`: the batch
    /// is another consumer's by now.
    async fn write_noted<T>(
        &self,
        lease: &Lease,
        mark: &Mark,
        writing: impl Future<Output = Result<T, StoreError>>,
    ) -> (bool, Result<T, StoreError>) {
        let mut writing = pin!(writing);
        if lease.takeovers == 0 {
            // Mostly the ack follows soon and says as much. A first death before then counts against the batch, but it takes
            // more than one.
            match tokio::time::timeout(NOTE_AFTER, writing.as_mut()).await {
                Ok(Ok(written)) => return (true, Ok(written)),
                Ok(Err(error)) => {
                    return (self.persist(|| self.consumer.mark(lease, mark)).await, Err(error));
                }
                Err(_elapsed) => {}
            }
        }
        tokio::join!(self.persist(|| self.consumer.mark(lease, mark)), writing)
    }

    async fn ack(&self, lease: &Lease) -> Ended {
        // After a lost reply the second ack finds nothing to settle: that is no loss either.
        let acked = self.persist(|| self.consumer.ack(lease)).await;
        if acked > 0 { Ended::Settled } else { Ended::Lost }
    }

    async fn write(
        &self,
        lease: &Lease,
        taken_over: bool,
        records: &[Record<'_>],
    ) -> Result<Written, StoreError> {
        idle(self.throttle.pay(records.len())).await;
        self.writer.write(lease, taken_over, self.provider.slug, records).await
    }

    fn parse<'a>(&self, lease: &'a Lease, records: &mut Vec<Record<'a>>) -> BatchCounts {
        let mut counts = BatchCounts::default();
        for item in &lease.items {
            let before = records.len();
            parse_item(self.provider, &self.limits, item, records);
            count(&mut counts, &records[before..]);
        }
        counts
    }

    /// The batch has killed its owners. Marks each message before it is parsed: the one that kills this process is found
    /// under the mark by the next owner, which makes it a dead letter. `None`: the batch is another consumer's by now.
    async fn parse_singly<'a>(
        &self,
        lease: &'a Lease,
        records: &mut Vec<Record<'a>>,
    ) -> Option<(BatchCounts, Mark)> {
        let mut killers = match &lease.mark {
            Mark::Items(indexes) => indexes.clone(),
            Mark::Clear | Mark::Parsing => Vec::new(),
        };
        tracing::warn!(
            queue = self.provider.slug, lease_id = %lease.id, takeovers = lease.takeovers, killers = ?killers,
            "this batch ended the consumers that parsed it: parsing its messages one by one"
        );
        let mut counts = BatchCounts::default();
        for (index, item) in lease.items.iter().enumerate() {
            let before = records.len();
            if killers.contains(&index) {
                records.push(refuse_item(item, Fault::killed()));
            } else {
                killers.push(index);
                let mark = Mark::Items(killers.clone());
                if !self.persist(async || self.consumer.mark(lease, &mark).await).await {
                    return None;
                }
                parse_item(self.provider, &self.limits, item, records);
                killers.pop();
            }
            count(&mut counts, &records[before..]);
        }
        // The killers must stay known: if this process dies while it writes, the next owner parses again.
        let mark = if killers.is_empty() { Mark::Clear } else { Mark::Items(killers) };
        Some((counts, mark))
    }

    async fn release(&self, lease: &Lease) -> Ended {
        if let Err(error) = self.consumer.release(lease).await {
            report(&error);
            tracing::warn!(lease_id = %lease.id, "could not release a batch: it is free when its lease runs out");
        }
        Ended::Released
    }

    /// Repeats a call to Redis until it is answered.
    async fn persist<T, Call: Future<Output = Result<T, QueueError>>>(&self, call: impl Fn() -> Call) -> T {
        let mut pause = self.settings.retry_min;
        loop {
            match call().await {
                Ok(value) => return value,
                Err(error) => report(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.retry_max);
        }
    }
}

/// The heartbeat: returns once another consumer has the batch.
async fn keep(
    provider: &'static str,
    consumer: Consumer,
    lease: Lease,
    duration: Duration,
    heartbeat: Duration,
) {
    let mut interval = tokio::time::interval(heartbeat);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The claim itself was the first heartbeat.
    interval.tick().await;
    loop {
        interval.tick().await;
        match consumer.extend(&lease, duration).await {
            Ok(true) => metrics::heartbeat(provider, Heartbeat::Extended),
            Ok(false) => return metrics::heartbeat(provider, Heartbeat::Lost),
            Err(error) => {
                metrics::heartbeat(provider, Heartbeat::Failed);
                report(&error);
            }
        }
    }
}

/// How long ago the batch's first message was received.
fn age(lease: &Lease) -> Duration {
    let oldest = lease.items.first().and_then(|item| Envelope::decode(item).ok());
    let age = oldest.map(|oldest| Timestamp::now().duration_since(oldest.received_at));
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
}

fn count(counts: &mut BatchCounts, records: &[Record<'_>]) {
    let skewed =
        records.iter().filter(|record| record.outcome.as_ref().is_ok_and(|event| event.clock_skewed));
    counts.skewed += u64::try_from(skewed.count()).unwrap_or(u64::MAX);
    if records.is_empty() {
        counts.empty += 1;
    } else if records.iter().any(|record| record.outcome.is_ok()) {
        counts.applied += 1;
    } else {
        counts.dead += 1;
    }
}

fn with_written(counts: BatchCounts, written: Written) -> BatchCounts {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    BatchCounts {
        inserted: wide(written.inserted),
        duplicate: wide(written.duplicate),
        dead_lettered: wide(written.dead_lettered),
        ..counts
    }
}

fn report(error: &QueueError) {
    metrics::redis_error(error.kind());
    tracing::warn!(%error, "a call to Redis failed: trying again");
}

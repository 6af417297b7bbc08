//! One queue's worker group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_failpoints::Failpoint;
use fleet_providers::{Limits, Provider};
use fleet_queue::{Consumer, Envelope, Lease, QueueError};
use fleet_runtime::liveness::idle;
use fleet_runtime::settings::ConsumerSettings;
use fleet_store::StoreError;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::batch::Fault;
use crate::drift::Drift;
use crate::held::{Ended, HeldLease};
use crate::metrics::{self, BatchCounts, LeaseFate};
use crate::poll::{Obtained, Poller};
use crate::redis_calls::RedisCalls;
use crate::slices::{Parsing, Slice, Slices, Tally};
use crate::suspects::Judge;
use crate::throttle::Throttle;
use crate::walk::{Marker, Walk};
use crate::write::{Batch, Origin, Stored, Writer, Written};

/// So many deaths under a mark, and the batch's messages are judged one by one.
const MAX_TAKEOVERS: u32 = 3;

/// How often the loop for batches that were set aside looks for one, unless it has just settled one.
const PARKED_EVERY: Duration = Duration::from_secs(1);

/// How often batches are looked for that have an owner and no expiry.
const RECLAIM_EVERY: Duration = Duration::from_secs(60);

/// Works on one queue; `batches_in_flight` loops share it.
#[derive(Debug)]
pub struct Worker {
    provider: &'static Provider,
    limits: Limits,
    consumer: Consumer,
    settings: ConsumerSettings,
    calls: Arc<RedisCalls>,
    poller: Mutex<Poller>,
    writer: Writer,
    throttle: Arc<Throttle>,
    drift: Drift,
    judge: Arc<Judge>,
}

/// Why a worker stopped although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A database refuses, and a retry cannot help.
    #[error(
        "a batch of {provider} cannot be stored: {source}. It stays leased; fix the cause and start the consumer again"
    )]
    Store {
        /// Slug of the provider.
        provider: &'static str,
        /// What the database says.
        source: StoreError,
    },
    /// The Redis that the settings name cannot be used.
    #[error(transparent)]
    Queue(QueueError),
}

impl Worker {
    /// A worker on `provider`'s queue.
    pub(crate) fn new(
        provider: &'static Provider,
        limits: Limits,
        consumer: Consumer,
        settings: ConsumerSettings,
        writer: Writer,
        throttle: Arc<Throttle>,
        judge: Arc<Judge>,
    ) -> Self {
        let calls = Arc::new(RedisCalls::new(provider.slug));
        let poller = Mutex::new(Poller::new(consumer.clone(), Arc::clone(&calls), &settings));
        let drift = Drift::new(provider.slug);
        Self { provider, limits, consumer, settings, calls, poller, writer, throttle, drift, judge }
    }

    /// Name of its queue.
    pub fn queue(&self) -> &'static str {
        self.provider.slug
    }

    /// Takes and settles batches until `shutdown`; a batch at work has until `deadline` and is released then.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if a retry cannot help.
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
                Err(error) if error.is_permanent() => return Err(WorkerError::Queue(error)),
                Err(_noted) => {
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

    /// Takes up the batches that were set aside, one after the other, until `shutdown`. A loop of its own: while a database
    /// takes nothing, they are what tries it, and the other loops go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if a retry cannot help.
    pub async fn run_parked(
        &self,
        shutdown: &CancellationToken,
        deadline: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut pause = Duration::ZERO;
        let mut reclaiming = tokio::time::interval(RECLAIM_EVERY);
        reclaiming.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _tick = reclaiming.tick() => self.reclaim().await,
                () = tokio::time::sleep(pause) => {}
            }
            let taken = self.take_parked().await;
            self.calls.note(&taken);
            pause = match taken {
                Ok(Some(lease)) => match self.work(Obtained::Resumed(lease), deadline).await? {
                    Ended::Parked => PARKED_EVERY,
                    Ended::Settled | Ended::Lost | Ended::Released | Ended::Undecided => Duration::ZERO,
                },
                Ok(None) => PARKED_EVERY,
                Err(_noted) => self.settings.retry_max,
            };
        }
    }

    /// Looks for batches that nobody would ever take over.
    async fn reclaim(&self) {
        match self.consumer.reclaim().await {
            Ok(None) => tracing::debug!("this user may not look for batches without an expiry (HKEYS, HLEN)"),
            Ok(Some(0)) => {}
            Ok(Some(found)) => tracing::warn!(
                queue = self.provider.slug,
                found,
                "found batches without an expiry, as a repair of Redis' file leaves them: taking them over"
            ),
            Err(error) => tracing::debug!(%error, "could not look for batches without an expiry"),
        }
    }

    /// If the reply to the takeover is lost, the batch's new lease runs out, and it is taken over as any other.
    async fn take_parked(&self) -> Result<Option<Lease>, QueueError> {
        match self.consumer.due().await?.parked {
            Some(id) => self.consumer.take_over_lease(id, Uuid::now_v7(), self.settings.lease).await,
            None => Ok(None),
        }
    }

    /// Works on what a claim under way at the shutdown has taken: released, it would wait until another consumer looks for
    /// batches to take over.
    async fn finish(&self, deadline: &CancellationToken) -> Result<(), WorkerError> {
        let last = self.poller.lock().await.last().await;
        match last {
            Ok(Some(taken)) => self.work(taken, deadline).await.map(|_ended| ()),
            Ok(None) => Ok(()),
            Err(_noted) => Ok(()),
        }
    }

    async fn work(&self, taken: Obtained, deadline: &CancellationToken) -> Result<Ended, WorkerError> {
        let slug = self.provider.slug;
        let (lease, origin) = match taken {
            Obtained::Claimed(lease) => (lease, Origin::Claimed),
            Obtained::TakenOver(lease) => (lease, Origin::TakenOver),
            Obtained::Resumed(lease) => (lease, Origin::Resumed),
        };
        note_taken(slug, &lease, origin);
        let Self { consumer, settings, calls, .. } = self;
        let held = HeldLease { queue: slug, lease: &lease, consumer, settings, calls };
        let mut heartbeat = held.heartbeat();
        if origin == Origin::TakenOver && Failpoint::DropLease.is_active() {
            return Ok(held.ack().await);
        }
        let progress = tokio::select! {
            progress = self.store(held, origin) => {
                Some(progress.map_err(|source| WorkerError::Store { provider: slug, source })?)
            }
            ended = &mut heartbeat => match ended {
                Ok(()) => Some(Progress::Lost),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            () = deadline.cancelled() => None,
        };
        // Stop the heartbeat first: after an ack it would find the lease gone and count it as lost, after a release it would
        // extend it.
        drop(heartbeat);
        let leaving = async {
            match progress {
                Some(Progress::Whole) => held.ack().await,
                Some(Progress::OneSide) => held.park().await,
                Some(Progress::Undecided) => held.postpone().await,
                Some(Progress::Lost) => Ended::Lost,
                None => held.release().await,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = leaving => ended,
            () = deadline.cancelled(), if progress.is_some() => held.release().await,
        };
        note_ended(slug, &lease, ended);
        Ok(ended)
    }

    /// Parses and writes.
    async fn store(&self, held: HeldLease<'_>, origin: Origin) -> Result<Progress, StoreError> {
        let (started, lease) = (Instant::now(), held.lease);
        let refused = if lease.takeovers < MAX_TAKEOVERS {
            BTreeMap::new()
        } else {
            let killers = idle(self.judge.killers(self.provider, &self.limits, lease)).await;
            let Some(killers) = killers else { return Ok(Progress::Undecided) };
            killers
        };
        let (first, rest, tally) = self.parse(lease, &refused).await;
        if Failpoint::AckBeforeCommit.is_active() {
            held.ack().await;
        }
        let marker = Marker::new(held);
        let batch = Batch { lease, origin, provider: self.provider.slug, records: tally.records };
        let (is_ours, stored) = marker.during(self.write(batch, Walk::new(first, rest, &marker))).await;
        let written = match stored? {
            Stored::Whole(written) => written,
            Stored::OneSide if is_ours => return Ok(Progress::OneSide),
            Stored::OneSide => return Ok(Progress::Lost),
        };
        let counts = with_written(tally.counts, written);
        let slug = self.provider.slug;
        metrics::settled(slug, counts, lease.items.len(), started.elapsed(), age(lease));
        tally.dropped.publish(slug);
        tracing::debug!(queue = slug, lease_id = %lease.id, ?counts, "stored a batch");
        Ok(if is_ours { Progress::Whole } else { Progress::Lost })
    }

    async fn write(&self, batch: Batch<'_>, walk: Walk<'_>) -> Result<Stored, StoreError> {
        // What is resumed has been paid for.
        if batch.origin != Origin::Resumed {
            idle(self.throttle.pay(batch.records)).await;
        }
        self.writer.write(batch, walk).await
    }

    /// Parses the first slice, which mostly is the whole batch; the others are only counted.
    async fn parse<'a>(
        &'a self,
        lease: &'a Lease,
        refused: &'a BTreeMap<usize, Fault>,
    ) -> (Slice<'a>, Slices<'a>, Tally) {
        let parsing =
            Parsing { provider: self.provider, limits: &self.limits, max_records: self.writer.max_records };
        let mut rest = Slices::new(parsing, &lease.items, refused);
        let first = rest.next_slice();
        let mut tally = Tally::default();
        tally.add(&first, &self.drift);
        if !rest.is_done() {
            let mut counted = rest.clone();
            while !counted.is_done() {
                tokio::task::yield_now().await;
                tally.add(&counted.next_slice(), &self.drift);
            }
        }
        (first, rest, tally)
    }
}

/// How far a batch has come when its consumer is done with it.
#[derive(Clone, Copy)]
enum Progress {
    /// Both databases have it.
    Whole,
    /// One database has it.
    OneSide,
    /// It cannot be judged now whether one of its messages ends whoever parses it.
    Undecided,
    /// It is another consumer's by now.
    Lost,
}

fn note_taken(queue: &'static str, lease: &Lease, origin: Origin) {
    match origin {
        Origin::Claimed => metrics::lease(queue, LeaseFate::Claimed),
        Origin::Resumed => metrics::lease(queue, LeaseFate::Resumed),
        Origin::TakenOver => {
            metrics::lease(queue, LeaseFate::TakenOver);
            tracing::info!(
                queue, lease_id = %lease.id, messages = lease.items.len(), takeovers = lease.takeovers,
                "took a batch over from a consumer that let it expire or released it"
            );
        }
    }
}

fn note_ended(queue: &'static str, lease: &Lease, ended: Ended) {
    match ended {
        Ended::Settled => metrics::lease(queue, LeaseFate::Settled),
        Ended::Released => metrics::lease(queue, LeaseFate::Released),
        Ended::Parked => {
            metrics::lease(queue, LeaseFate::Parked);
            tracing::debug!(queue, lease_id = %lease.id, "set a batch aside until both databases take it");
        }
        Ended::Undecided => {
            metrics::lease(queue, LeaseFate::Undecided);
            tracing::warn!(
                queue, lease_id = %lease.id,
                "released a batch for a minute: whether one of its messages crashes the parser could not be found out"
            );
        }
        Ended::Lost => {
            metrics::lease(queue, LeaseFate::Lost);
            tracing::warn!(
                queue, lease_id = %lease.id,
                "the lease is gone: another consumer has taken the batch over, or the reply to an ack was lost"
            );
        }
    }
}

/// How long ago the batch's first message was received.
fn age(lease: &Lease) -> Duration {
    let oldest = lease.items.first().and_then(|item| Envelope::decode(item).ok());
    let age = oldest.map(|oldest| Timestamp::now().duration_since(oldest.received_at));
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
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

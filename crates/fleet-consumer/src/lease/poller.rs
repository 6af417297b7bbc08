//! Decides when to poll a queue, and obtains batches from it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Lease, QueueError};
use fleet_runtime::settings::ConsumerSettings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use crate::lease::obtained::{Obtained, Origin};
use crate::lease::redis_calls::RedisCalls;

/// How often the poller looks for expired leases in the time that a lease lasts.
const TAKEOVERS_PER_LEASE: u32 = 10;

/// After a claim with so few messages, the pause grows as it does after an empty one: transactions cost about as much for one
/// message as for many.
const FEW_MESSAGES: usize = 6;

/// With so many messages a second, most vehicles report again within [`BUSY_PAUSE`]. A batch that collects them writes each
/// vehicle once. No usual traffic reaches this rate: it is what a provider sends after an outage, and is late anyway.
const BUSY_PER_SECOND: f64 = 5_000.0;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// The common start of all queues' poll intervals.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Polls one queue. A worker's loops share it: while one of them polls, the others wait.
#[derive(Debug)]
pub(crate) struct Poller {
    consumer: Consumer,
    calls: Arc<RedisCalls>,
    /// The bounds of a batch.
    limits: ClaimLimits,
    /// The bounds of a large batch.
    large_limits: ClaimLimits,
    /// How many more batches may be large, over all queues.
    large_batches: Arc<Semaphore>,
    /// The last claim was full, or very many messages come.
    is_busy: bool,
    /// When the last claim was made.
    claimed_at: Instant,
    poll_min: Duration,
    poll_max: Duration,
    next_poll: Instant,
    pause: Duration,
    next_takeover: Instant,
    /// The call whose reply was lost. It may have obtained a batch.
    unanswered: Option<Call>,
}

/// A call that obtains a batch.
#[derive(Clone, Copy, Debug)]
enum Call {
    Claim { id: Uuid, token: Uuid },
    Takeover { id: Uuid, token: Uuid },
}

impl Poller {
    pub(crate) fn new(
        consumer: Consumer,
        calls: Arc<RedisCalls>,
        settings: &ConsumerSettings,
        large_batches: Arc<Semaphore>,
    ) -> Self {
        let limits = ClaimLimits {
            max_messages: settings.claim_max_messages.min(settings.batch_max_messages),
            max_bytes: settings.claim_max_bytes.min(settings.batch_max_bytes),
            lease: settings.lease,
        };
        let large_limits = ClaimLimits {
            max_messages: settings.batch_max_messages,
            max_bytes: settings.batch_max_bytes,
            ..limits
        };
        let now = Instant::now();
        Self {
            consumer,
            calls,
            limits,
            large_limits,
            large_batches,
            is_busy: false,
            claimed_at: now,
            poll_min: settings.poll_min,
            poll_max: settings.poll_max,
            next_poll: now,
            pause: settings.poll_min,
            next_takeover: now,
            unanswered: None,
        }
    }

    /// Waits for the next batch. Cancelling it loses nothing: the next call repeats a claim that was in progress.
    pub(crate) async fn next(&mut self) -> Result<Obtained, QueueError> {
        loop {
            tokio::time::sleep_until(self.next_poll).await;
            let obtained = self.poll().await;
            self.calls.note(&obtained);
            if let Some(obtained) = obtained? {
                return Ok(obtained);
            }
        }
    }

    async fn poll(&mut self) -> Result<Option<Obtained>, QueueError> {
        if let Some(obtained) = self.repeat_unanswered().await? {
            return Ok(Some(obtained));
        }
        if Instant::now() >= self.next_takeover {
            if let Some(id) = self.consumer.due().await?.expired {
                self.unanswered = Some(Call::Takeover { id, token: Uuid::now_v7() });
                return self.repeat_unanswered().await;
            }
            self.next_takeover = Instant::now() + self.limits.lease / TAKEOVERS_PER_LEASE;
        }
        let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
        self.unanswered = Some(Call::Claim { id, token });
        let permit = self.permit();
        let limits = if permit.is_some() { self.large_limits } else { self.limits };
        let claimed = match self.consumer.claim(id, token, limits).await {
            // Ask at once, on a new connection, whether the claim succeeded.
            Err(QueueError::Connection(_)) => return self.repeat_unanswered().await,
            claimed => claimed?,
        };
        self.unanswered = None;
        self.pace(claimed.as_ref(), limits);
        Ok(claimed.map(|lease| {
            let large = permit.filter(|_permit| exceeds(&lease, self.limits));
            Obtained { lease, origin: Origin::Claimed, large }
        }))
    }

    /// The right to claim a large batch, while many messages come and few other batches are large.
    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_busy { Arc::clone(&self.large_batches).try_acquire_owned().ok() } else { None }
    }

    /// Repeats the call whose reply was lost. It returns the batch that the first call obtained, if any.
    async fn repeat_unanswered(&mut self) -> Result<Option<Obtained>, QueueError> {
        let answer = match self.unanswered {
            None => Ok(None),
            Some(Call::Claim { id, token }) => {
                let lease = self.consumer.claim_again(id, token, self.limits).await;
                lease.map(|lease| lease.map(|lease| Obtained { lease, origin: Origin::Claimed, large: None }))
            }
            Some(Call::Takeover { id, token }) => {
                let lease = self.consumer.take_over_lease(id, token, self.limits.lease).await;
                lease.map(|lease| {
                    lease.map(|lease| Obtained { lease, origin: Origin::TakenOver, large: None })
                })
            }
        };
        match &answer {
            Ok(_) => self.unanswered = None,
            Err(error) if error.is_unusable_batch() => {
                self.unanswered = None;
                self.next_takeover = Instant::now() + self.limits.lease / TAKEOVERS_PER_LEASE;
            }
            Err(_repeat_later) => {}
        }
        answer
    }

    /// The batch that a cancelled call obtained, if any. Obtains no other.
    pub(crate) async fn last(&mut self) -> Result<Option<Obtained>, QueueError> {
        let was_unanswered = self.unanswered.is_some();
        let last = self.repeat_unanswered().await;
        if was_unanswered {
            self.calls.note(&last);
        }
        last
    }

    /// Sets the time of the next poll: at once after a full batch, after a pause otherwise, so that the next batch is larger. The
    /// pause doubles while there are few messages or none, and is long while there are very many.
    fn pace(&mut self, lease: Option<&Lease>, limits: ClaimLimits) {
        let now = Instant::now();
        let messages = lease.map_or(0, |lease| lease.items.len());
        let per_second = per_second(messages, now - std::mem::replace(&mut self.claimed_at, now));
        // The next message may have been too large for the rest.
        let is_full =
            messages >= limits.max_messages || lease.map_or(0, Lease::bytes) >= limits.max_bytes / 4 * 3;
        self.is_busy = is_full || per_second >= BUSY_PER_SECOND;
        let few = !is_full && messages <= FEW_MESSAGES;
        if !few {
            self.pause = self.poll_min;
        }
        self.next_poll = match (is_full, self.is_busy) {
            (true, _) => now,
            (false, true) => now + BUSY_PAUSE,
            (false, false) => round_to(now + self.pause, self.poll_min),
        };
        if few {
            self.pause = (self.pause * 2).min(self.poll_max);
        }
    }
}

fn exceeds(lease: &Lease, limits: ClaimLimits) -> bool {
    lease.items.len() > limits.max_messages || lease.bytes() > limits.max_bytes
}

#[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 messages")]
fn per_second(messages: usize, elapsed: Duration) -> f64 {
    messages as f64 / elapsed.as_secs_f64().max(0.001)
}

/// Rounds a time to a multiple of `interval`, so that all queues are polled at the same times. With little traffic, most of a
/// batch's cost is waking up processes: this one, Redis and PostgreSQL. Queues that are polled together share it.
fn round_to(time: Instant, interval: Duration) -> Instant {
    let intervals = time.duration_since(*START).div_duration_f64(interval).round();
    *START + interval.mul_f64(intervals)
}

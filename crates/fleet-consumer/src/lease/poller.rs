//! Decides when to poll a queue, and obtains batches from it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Lease, QueueError};
use fleet_runtime::settings::ConsumerSettings;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::lease::obtained::{Obtained, Origin};
use crate::lease::redis_calls::RedisCalls;

/// How often the poller looks for expired leases in the time that a lease lasts.
const TAKEOVERS_PER_LEASE: u32 = 10;

/// After a claim with so few messages, the pause grows as it does after an empty one: transactions cost about as much for one
/// message as for many.
const FEW_MESSAGES: usize = 6;

/// The common start of all queues' poll intervals.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Polls one queue. A worker's loops share it: while one of them polls, the others wait.
#[derive(Debug)]
pub(crate) struct Poller {
    consumer: Consumer,
    calls: Arc<RedisCalls>,
    /// The bounds of one claim.
    limits: ClaimLimits,
    /// Most messages of a batch that has grown.
    batch_max_messages: usize,
    /// Most bytes of a batch that has grown.
    batch_max_bytes: usize,
    /// How many more batches may grow, over all queues.
    large_batches: Arc<Semaphore>,
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
        let now = Instant::now();
        Self {
            consumer,
            calls,
            limits,
            batch_max_messages: settings.batch_max_messages,
            batch_max_bytes: settings.batch_max_bytes,
            large_batches,
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
        let claimed = match self.claim(id, token).await {
            // Ask at once, on a new connection, whether the claim succeeded.
            Err(QueueError::Connection(_)) => return self.repeat_unanswered().await,
            claimed => claimed?,
        };
        self.unanswered = None;
        self.pace(claimed.as_ref().map(|obtained| &obtained.lease));
        Ok(claimed)
    }

    /// Claims a batch. While the queue has more messages than a claim may take, the batch grows, if few others do.
    async fn claim(&self, id: Uuid, token: Uuid) -> Result<Option<Obtained>, QueueError> {
        let Some(mut lease) = self.consumer.claim(id, token, self.limits).await? else { return Ok(None) };
        let may_grow = lease.items.len() == self.limits.max_messages
            && self.batch_max_messages > self.limits.max_messages;
        let large = may_grow.then(|| Arc::clone(&self.large_batches).try_acquire_owned().ok()).flatten();
        if large.is_some() && !self.grow(&mut lease).await? {
            return Ok(None);
        }
        Ok(Some(Obtained { lease, origin: Origin::Claimed, large }))
    }

    /// Claims more messages for a batch. Returns `false` if another consumer has taken it over.
    async fn grow(&self, lease: &mut Lease) -> Result<bool, QueueError> {
        loop {
            let limits = ClaimLimits {
                max_messages: self.limits.max_messages.min(self.batch_max_messages - lease.items.len()),
                max_bytes: self.limits.max_bytes.min(self.batch_max_bytes.saturating_sub(lease.bytes())),
                ..self.limits
            };
            if limits.max_messages == 0 || limits.max_bytes == 0 {
                return Ok(true);
            }
            match self.consumer.claim_more(lease, limits).await? {
                None => return Ok(false),
                Some(added) if added < limits.max_messages => return Ok(true),
                Some(_all) => {}
            }
        }
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

    /// Sets the time of the next poll: at once after a full batch, after a pause otherwise, so that the next batch grows. The
    /// pause doubles while there are few messages or none.
    fn pace(&mut self, lease: Option<&Lease>) {
        let messages = lease.map_or(0, |lease| lease.items.len());
        let bytes = lease.map_or(0, Lease::bytes);
        // The next message may have been too large for the rest.
        let full = messages >= self.limits.max_messages || bytes >= self.limits.max_bytes / 4 * 3;
        let little = !full && messages <= FEW_MESSAGES;
        if !little {
            self.pause = self.poll_min;
        }
        let now = Instant::now();
        self.next_poll = if full { now } else { round_to(now + self.pause, self.poll_min) };
        if little {
            self.pause = (self.pause * 2).min(self.poll_max);
        }
    }
}

/// Rounds a time to a multiple of `interval`, so that all queues are polled at the same times. With little traffic, most of a
/// batch's cost is waking up processes: this one, Redis and PostgreSQL. Queues that are polled together share it.
fn round_to(time: Instant, interval: Duration) -> Instant {
    let intervals = time.duration_since(*START).div_duration_f64(interval).round();
    *START + interval.mul_f64(intervals)
}

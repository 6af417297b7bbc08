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

/// After a claim with so few messages, the pause doubles as it does after an empty one: transactions cost about as much for one
/// message as for many. After more, it is halved, so it settles where a batch has about as many.
const FEW_MESSAGES: usize = 2;

/// With so many messages within [`BUSY_PAUSE`], which is 5,000 a second, most vehicles report again soon. A batch that collects their
/// reports writes each vehicle once. Only a provider that catches up after an outage sends so many, and they are late anyway.
const BUSY_MESSAGES: u128 = 1_000;
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
    may_be_large: bool,
    arrivals: Arrivals,
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
        // An operator has switched large batches off if they may have no more messages.
        let large_limits = if settings.batch_max_messages > settings.claim_max_messages {
            ClaimLimits {
                max_messages: settings.batch_max_messages,
                max_bytes: settings.batch_max_bytes,
                ..limits
            }
        } else {
            limits
        };
        let now = Instant::now();
        Self {
            consumer,
            calls,
            limits,
            large_limits,
            large_batches,
            may_be_large: false,
            arrivals: Arrivals::new(now),
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
        if self.may_be_large { Arc::clone(&self.large_batches).try_acquire_owned().ok() } else { None }
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
    /// pause follows how many messages come, and is long while there are very many.
    fn pace(&mut self, lease: Option<&Lease>, limits: ClaimLimits) {
        let now = Instant::now();
        let messages = lease.map_or(0, |lease| lease.items.len());
        let is_busy = self.arrivals.are_many(messages, now);
        // The next message may have been too large for the rest.
        let is_full =
            messages >= limits.max_messages || lease.map_or(0, Lease::bytes) >= limits.max_bytes / 4 * 3;
        self.may_be_large = is_full || is_busy;
        let are_few = messages <= FEW_MESSAGES && !is_full;
        let pause = if are_few { self.pause * 2 } else { self.pause / 2 };
        self.pause = pause.clamp(self.poll_min, self.poll_max);
        self.next_poll = match (is_full, is_busy) {
            (true, _) => now,
            (false, true) => now + BUSY_PAUSE,
            (false, false) => round_to(now + self.pause, self.poll_min),
        };
    }
}

fn exceeds(lease: &Lease, limits: ClaimLimits) -> bool {
    lease.items.len() > limits.max_messages || lease.bytes() > limits.max_bytes
}

/// How many messages come. They are counted over [`BUSY_PAUSE`] at least, because a fleet may report on the second.
#[derive(Debug)]
struct Arrivals {
    since: Instant,
    messages: usize,
    are_many: bool,
}

impl Arrivals {
    fn new(since: Instant) -> Self {
        Self { since, messages: 0, are_many: false }
    }

    /// Counts messages that were claimed just now. Returns whether very many come.
    fn are_many(&mut self, messages: usize, now: Instant) -> bool {
        self.messages += messages;
        let elapsed = now - self.since;
        if elapsed >= BUSY_PAUSE {
            let pauses = elapsed.as_millis() / BUSY_PAUSE.as_millis();
            let are_many = self.messages as u128 >= BUSY_MESSAGES * pauses;
            *self = Self { since: now, messages: 0, are_many };
        }
        self.are_many
    }
}

/// Rounds a time to a multiple of `interval`, so that all queues are polled at the same times. With little traffic, most of a
/// batch's cost is waking up processes: this one, Redis and PostgreSQL. Queues that are polled together share it.
fn round_to(time: Instant, interval: Duration) -> Instant {
    let intervals = time.duration_since(*START).div_duration_f64(interval).round();
    *START + interval.mul_f64(intervals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_not_many_and_a_flood_is() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!arrivals.are_many(999, at(10)), "it is too early to tell");
        assert!(!arrivals.are_many(0, at(200)));
        assert!(!arrivals.are_many(600, at(210)));
        assert!(arrivals.are_many(400, at(400)));
        assert!(arrivals.are_many(0, at(410)), "until the next count");
        assert!(arrivals.are_many(3_000, at(1_000)));
        assert!(!arrivals.are_many(10_000, at(4_000)), "after a long silence");
    }
}

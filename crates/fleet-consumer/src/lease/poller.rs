//! When to look into a queue, and what to take.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fleet_queue::{ClaimLimits, Consumer, Lease, QueueError};
use fleet_runtime::settings::ConsumerSettings;
use tokio::time::Instant;
use uuid::Uuid;

use crate::lease::obtained::{Obtained, Origin};
use crate::lease::redis_calls::RedisCalls;

/// Expired leases are looked for this often within a lease's time.
const TAKEOVERS_A_LEASE: u32 = 10;

/// A claim that found so few messages makes the pause grow as an empty queue does: the transactions cost as much for
/// one message as for many.
const FEW_MESSAGES: usize = 6;

/// What all the queues' polls are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The one place of a worker group that asks Redis for work: while one of its loops polls, the others wait.
#[derive(Debug)]
pub(crate) struct Poller {
    consumer: Consumer,
    calls: Arc<RedisCalls>,
    limits: ClaimLimits,
    poll_min: Duration,
    poll_max: Duration,
    next_poll: Instant,
    pause: Duration,
    next_takeover: Instant,
    /// What was asked for and not answered: there may be a batch under it.
    unanswered: Option<Asked>,
}

/// A call that makes a batch this consumer's.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Claim { id: Uuid, token: Uuid },
    Takeover { id: Uuid, token: Uuid },
}

impl Poller {
    pub(crate) fn new(consumer: Consumer, calls: Arc<RedisCalls>, settings: &ConsumerSettings) -> Self {
        let limits = ClaimLimits {
            max_messages: settings.batch_max_messages,
            max_bytes: settings.batch_max_bytes,
            lease: settings.lease,
        };
        let now = Instant::now();
        Self {
            consumer,
            calls,
            limits,
            poll_min: settings.poll_min,
            poll_max: settings.poll_max,
            next_poll: now,
            pause: settings.poll_min,
            next_takeover: now,
            unanswered: None,
        }
    }

    /// Waits for the next batch. Cancelling it loses nothing: a claim under way is asked for again.
    pub(crate) async fn next(&mut self) -> Result<Obtained, QueueError> {
        loop {
            tokio::time::sleep_until(self.next_poll).await;
            let taken = self.take().await;
            self.calls.note(&taken);
            if let Some(taken) = taken? {
                return Ok(taken);
            }
        }
    }

    async fn take(&mut self) -> Result<Option<Obtained>, QueueError> {
        if let Some(taken) = self.answer().await? {
            return Ok(Some(taken));
        }
        if Instant::now() >= self.next_takeover {
            if let Some(id) = self.consumer.due().await?.expired {
                self.unanswered = Some(Asked::Takeover { id, token: Uuid::now_v7() });
                return self.answer().await;
            }
            self.next_takeover = Instant::now() + self.limits.lease / TAKEOVERS_A_LEASE;
        }
        let (id, token) = (Uuid::now_v7(), Uuid::now_v7());
        self.unanswered = Some(Asked::Claim { id, token });
        let lease = match self.consumer.claim(id, token, self.limits).await {
            // On a new connection it is known at once whether it went through.
            Err(QueueError::Connection(_)) => return self.answer().await,
            claimed => claimed?,
        };
        self.unanswered = None;
        self.pace(lease.as_ref());
        Ok(lease.map(|lease| Obtained { lease, origin: Origin::Claimed }))
    }

    /// The batch of a call whose reply has not come, if there is one.
    async fn answer(&mut self) -> Result<Option<Obtained>, QueueError> {
        let answer = match self.unanswered {
            None => Ok(None),
            Some(Asked::Claim { id, token }) => {
                let lease = self.consumer.claim_again(id, token, self.limits).await;
                lease.map(|lease| lease.map(|lease| Obtained { lease, origin: Origin::Claimed }))
            }
            Some(Asked::Takeover { id, token }) => {
                let lease = self.consumer.take_over_lease(id, token, self.limits.lease).await;
                lease.map(|lease| lease.map(|lease| Obtained { lease, origin: Origin::TakenOver }))
            }
        };
        // A lease that only another version can read, or that something else has overwritten, must not keep this one from
        // the queue.
        let is_unusable = |error: &QueueError| matches!(error, QueueError::Reply(_)) || error.is_broken_key();
        match &answer {
            Ok(_) => self.unanswered = None,
            Err(error) if is_unusable(error) => {
                self.unanswered = None;
                self.next_takeover = Instant::now() + self.limits.lease / TAKEOVERS_A_LEASE;
            }
            Err(_ask_again) => {}
        }
        answer
    }

    /// What a call that was cut short has taken, if anything; asks for nothing new.
    pub(crate) async fn last(&mut self) -> Result<Option<Obtained>, QueueError> {
        let is_asked = self.unanswered.is_some();
        let last = self.answer().await;
        if is_asked {
            self.calls.note(&last);
        }
        last
    }

    /// A full batch is followed at once by the next; a partial one lets the next grow; where there is little or nothing,
    /// the queue is asked less and less often.
    fn pace(&mut self, lease: Option<&Lease>) {
        let messages = lease.map_or(0, |lease| lease.items.len());
        let bytes: usize = lease.iter().flat_map(|lease| &lease.items).map(bytes::Bytes::len).sum();
        // The next message may just not have fitted.
        let full = messages >= self.limits.max_messages || bytes >= self.limits.max_bytes / 4 * 3;
        let little = !full && messages <= FEW_MESSAGES;
        if !little {
            self.pause = self.poll_min;
        }
        let now = Instant::now();
        self.next_poll = if full { now } else { on_the_beat(now + self.pause, self.poll_min) };
        if little {
            self.pause = (self.pause * 2).min(self.poll_max);
        }
    }
}

/// The nearest of the times that lie `beat` apart. At little traffic most of a batch's cost is that processes wake up for
/// it, here, in Redis and in PostgreSQL: queues that are asked at the same time share that.
fn on_the_beat(time: Instant, beat: Duration) -> Instant {
    let beats = time.duration_since(*START).div_duration_f64(beat).round();
    *START + beat.mul_f64(beats)
}

//! The pushes to one queue in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Producer, Pushed, Queue, QueueError, ShardState, Unconfirmed};
use fleet_runtime::settings::Settings;
use tokio::sync::Notify;

use crate::metrics::PushMetrics;
use crate::shard_watch::ShardWatch;
use crate::standing::{Standing, Stored};

/// How many timeouts a push may stay unconfirmed on its connection. Then the connection is left, because its server may not be
/// the primary any more.
const TIMEOUTS: u32 = 3;

/// One of the provider's queues, over a connection of its own.
pub(crate) struct Shard {
    producer: Producer,
    standing: Arc<Standing>,
    metrics: PushMetrics,
    /// The timeout of a call.
    timeout: Duration,
}

impl Shard {
    /// Prepares the pushes to a queue, and the watch of it. `usable` is notified when the queue may take pushes again.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(crate) fn open(
        settings: &Settings,
        queue: Queue,
        max_backlog_bytes: u64,
        usable: &Arc<Notify>,
    ) -> Result<(Self, ShardWatch), QueueError> {
        let producer = || -> Result<Producer, QueueError> {
            let link = Arc::new(settings.redis_link(queue)?);
            Ok(Producer::new(link, &settings.queue.prefix, queue).confirmed_by(settings.queue.replicas))
        };
        let metrics = PushMetrics::new(queue);
        let standing = Arc::new(Standing::new(metrics.clone(), max_backlog_bytes, Arc::clone(usable)));
        // A connection of its own: a WAIT of a push would delay its reads.
        let watch = ShardWatch { producer: producer()?, standing: Arc::clone(&standing) };
        Ok((Self { producer: producer()?, standing, metrics, timeout: settings.queue.timeout }, watch))
    }

    /// Whether the queue takes pushes.
    pub(crate) fn state(&self) -> ShardState {
        self.standing.state()
    }

    /// Whether the caller may try this queue after a failed push.
    pub(crate) fn take_trial(&self) -> bool {
        self.standing.take_trial()
    }

    /// Whether Redis responds and would take a push, as far as can be known without one.
    pub(crate) async fn responds(&self) -> bool {
        if self.state() == ShardState::Shedding {
            return false;
        }
        let looked = match self.producer.prove().await {
            Ok(()) => self.producer.ledger().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &looked
            && !error.is_broken_key()
        {
            self.standing.failed(error, 0);
            return false;
        }
        // With a broken key, the next push tells whether the queue can be used.
        self.standing.looked(looked);
        self.state() != ShardState::Shedding
    }

    /// Pushes messages. Returns whether they are stored, also by the replicas that must have them.
    pub(crate) async fn push(&self, items: &[Vec<u8>], bytes: usize) -> bool {
        let started = Instant::now();
        let mut batch = self.producer.batch(items.len(), bytes);
        for item in items {
            batch.add(item);
        }
        let result = self.producer.push_batch(batch).await;
        let stored = match result {
            Ok(Pushed { unconfirmed: Some(push), waiting_messages, ledger }) => {
                self.metrics.unconfirmed();
                self.confirm(push, started).await.map(|()| (waiting_messages, ledger))
            }
            Ok(Pushed { unconfirmed: None, waiting_messages, ledger }) => Ok((waiting_messages, ledger)),
            Err(error) => Err(error),
        };
        self.metrics.pushed(items.len(), started.elapsed());
        match stored {
            Ok((waiting_messages, ledger)) => {
                let (messages, bytes) = (wide(items.len()), wide(bytes));
                let ledger = ledger.as_ref();
                self.standing.pushed(&Stored { messages, bytes, waiting_messages, ledger });
                true
            }
            Err(error) => {
                self.standing.failed(&error, items.len());
                false
            }
        }
    }

    /// Waits until replicas have confirmed a push. The messages are in the queue, so they are not pushed again meanwhile.
    async fn confirm(&self, push: Unconfirmed, began: Instant) -> Result<(), QueueError> {
        loop {
            let found = self.producer.confirm(&push).await?;
            if found.is_complete() {
                return Ok(());
            }
            if began.elapsed() >= self.timeout * TIMEOUTS {
                self.producer.give_up(push).await;
                return Err(QueueError::Unconfirmed(found));
            }
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

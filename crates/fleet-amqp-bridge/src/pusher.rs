//! Pushes the messages of one of the broker's queues into the provider's queues in Redis, and retries until it has succeeded.

use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{QueueError, ShardState, choose_shard};
use fleet_runtime::settings::Settings;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bridge_settings::BridgeSettings;
use crate::shard::Shard;
use crate::shard_watch::ShardWatch;

/// How long to wait for a queue that takes pushes, before all are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The provider's queues.
pub(crate) struct Pusher {
    shards: Vec<Shard>,
    /// Counts pushes. Each begins its search for a queue at the next one.
    turn: usize,
    usable: Arc<Notify>,
}

impl Pusher {
    /// Opens the queues, and the watches of them.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(crate) fn open(
        settings: &Settings,
        bridge: &BridgeSettings,
    ) -> Result<(Self, Vec<ShardWatch>), QueueError> {
        let usable = Arc::<Notify>::default();
        let queues = u64::try_from(bridge.redis_queues.len().max(1)).unwrap_or(u64::MAX);
        let max_backlog_bytes = bridge.max_backlog_bytes / queues;
        let (mut shards, mut watches) = (Vec::new(), Vec::new());
        for &queue in &bridge.redis_queues {
            let (shard, watch) = Shard::open(settings, queue, max_backlog_bytes, &usable)?;
            shards.push(shard);
            watches.push(watch);
        }
        Ok((Self { shards, turn: 0, usable }, watches))
    }

    /// Waits until Redis responds and a queue has room. Messages that are consumed earlier would only wait, and the broker takes
    /// them back after a time.
    pub(crate) async fn usable(&self) {
        loop {
            for shard in &self.shards {
                if shard.responds().await {
                    return;
                }
            }
            self.wait().await;
        }
    }

    /// Pushes messages until Redis has stored them. Gives up between two attempts once `stop` is cancelled. Returns whether they
    /// are stored.
    pub(crate) async fn push(&mut self, items: &[Vec<u8>], bytes: usize, stop: &CancellationToken) -> bool {
        loop {
            if let Some(shard) = self.choose()
                && shard.push(items, bytes).await
            {
                return true;
            }
            if stop.is_cancelled() {
                return false;
            }
            if !self.shards.iter().any(takes_pushes) {
                tokio::select! {
                    () = self.wait() => {}
                    () = stop.cancelled() => return false,
                }
            }
        }
    }

    async fn wait(&self) {
        // Whether a queue takes pushes is looked at in either case.
        let _notified = timeout(LOOK_AGAIN, self.usable.notified()).await;
    }

    /// A queue that takes pushes, or one that may be tried again.
    fn choose(&mut self) -> Option<&Shard> {
        self.turn = self.turn.wrapping_add(1);
        let shards = &self.shards;
        if let Some(trial) = shards.iter().find(|shard| shard.take_trial()) {
            return Some(trial);
        }
        let chosen = choose_shard(shards.len(), self.turn, |index| shards[index].state());
        shards.get(chosen).filter(|shard| takes_pushes(shard))
    }
}

fn takes_pushes(shard: &Shard) -> bool {
    match shard.state() {
        ShardState::Working { .. } => true,
        ShardState::Full | ShardState::Failing | ShardState::Shedding => false,
    }
}

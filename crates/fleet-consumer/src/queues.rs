//! The queues that this process knows, each with its connection.
//!
//! The settings name queues. Others exist if the number of shards was changed: the witnesses in the database name them, and
//! their ledgers in Redis show them. Only a few keys are read for that, because SCAN is not permitted to the consumer, and does
//! not search a whole cluster.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_providers::PROVIDERS;
use fleet_queue::{MAX_SHARDS, Observer, Queue, QueueError, QueueStatus, RedisLink};
use fleet_runtime::settings::Settings;
use futures_util::future::join_all;

use crate::connect::redis_link;

/// A queue, opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenQueue {
    pub(crate) queue: Queue,
    pub(crate) link: Arc<RedisLink>,
    /// The settings name it.
    pub(crate) is_configured: bool,
}

/// Every queue that this process knows. Clones share the list.
#[derive(Clone, Debug)]
pub(crate) struct KnownQueues {
    settings: Arc<Settings>,
    lists: Arc<Mutex<Lists>>,
}

#[derive(Debug, Default)]
struct Lists {
    known: BTreeMap<Queue, OpenQueue>,
    /// Queues that may exist.
    possible: BTreeMap<Queue, OpenQueue>,
}

impl KnownQueues {
    /// The queues that the settings name. Connects to none of them.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(crate) fn open(settings: &Settings) -> Result<Self, QueueError> {
        let open = |queue| {
            let link = redis_link(settings, queue)?;
            Ok((queue, OpenQueue { queue, link, is_configured: true }))
        };
        let known: Result<_, QueueError> = settings.queues().map(open).collect();
        let lists = Lists { known: known?, possible: BTreeMap::new() };
        Ok(Self { settings: Arc::new(settings.clone()), lists: Arc::new(Mutex::new(lists)) })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<OpenQueue> {
        self.lock().known.values().cloned().collect()
    }

    /// Whether all queues are on one server.
    pub(crate) fn share_a_server(&self) -> bool {
        self.settings.queues_share_a_server()
    }

    /// Adds the queues with these names outside of Redis, such as `fleet:{niu.3}`.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used.
    pub(crate) fn add_named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), QueueError> {
        let prefix = format!("{}:{{", self.settings.queue.prefix);
        for name in names {
            let tag = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('}'));
            if let Some(queue) = tag.and_then(|tag| Queue::parse(tag, slugs())) {
                self.add(queue)?;
            }
        }
        Ok(())
    }

    /// Looks for queues that nobody has named, by their ledgers: the queue without shards, and the first shard that is not
    /// known. The shards of a provider are numbered without gaps, so each one that is found leads to the next.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if Redis' URL can never be used. A server that does not respond is no error.
    pub(crate) async fn discover(&self) -> Result<(), QueueError> {
        let mut is_new = true;
        while is_new {
            is_new = false;
            let possible = self.possible()?;
            for (queue, status) in join_all(possible.iter().map(|open| self.status(open))).await {
                if status.is_some_and(|status| status.accepted.messages > 0 || has_work(&status)) {
                    self.add(queue)?;
                    is_new = true;
                }
            }
        }
        Ok(())
    }

    async fn status(&self, open: &OpenQueue) -> (Queue, Option<QueueStatus>) {
        let observer = Observer::new(Arc::clone(&open.link), &self.settings.queue.prefix, open.queue);
        (open.queue, observer.status().await.ok())
    }

    /// The queues that may exist, without gaps after those that are known.
    fn possible(&self) -> Result<Vec<OpenQueue>, QueueError> {
        let mut lists = self.lock();
        let candidates = slugs().flat_map(|provider| {
            let mut shards = Queue::all(provider, MAX_SHARDS);
            let next = shards.find(|shard| !lists.known.contains_key(shard));
            let unsharded = Queue::unsharded(provider);
            let unsharded = (!lists.known.contains_key(&unsharded)).then_some(unsharded);
            unsharded.into_iter().chain(next)
        });
        let candidates: Vec<_> = candidates.collect();
        // Also closes the connections of those that are known by now.
        let mut before = std::mem::take(&mut lists.possible);
        for queue in candidates {
            let open = match before.remove(&queue) {
                Some(open) => open,
                None => self.open_possible(queue, &lists.known)?,
            };
            lists.possible.insert(queue, open);
        }
        Ok(lists.possible.values().cloned().collect())
    }

    fn add(&self, queue: Queue) -> Result<(), QueueError> {
        let mut lists = self.lock();
        if let Entry::Vacant(vacant) = lists.known.entry(queue) {
            vacant.insert(self.open_unnamed(queue)?);
            let shards = self.settings.shards(queue.provider());
            tracing::info!(%queue, shards, "there is a queue that the settings do not name: watching it, too");
        }
        Ok(())
    }

    /// Such a queue rarely exists, so it gets a connection of its own only if it may be on another server.
    fn open_possible(
        &self,
        queue: Queue,
        known: &BTreeMap<Queue, OpenQueue>,
    ) -> Result<OpenQueue, QueueError> {
        let neighbour = known.values().find(|open| open.queue.provider() == queue.provider());
        match neighbour.filter(|_open| self.settings.queues_share_a_server()) {
            Some(open) => Ok(OpenQueue { queue, link: Arc::clone(&open.link), is_configured: false }),
            None => self.open_unnamed(queue),
        }
    }

    fn open_unnamed(&self, queue: Queue) -> Result<OpenQueue, QueueError> {
        Ok(OpenQueue { queue, link: redis_link(&self.settings, queue)?, is_configured: false })
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        // The lists are consistent between any two statements.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slugs() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|provider| provider.slug)
}

/// Whether messages wait in the queue or in a claimed batch.
pub(crate) fn has_work(status: &QueueStatus) -> bool {
    status.waiting_messages > 0
        || status.leases > 0
        || status.parked > 0
        || (status.has_ledger() && status.backlog().messages > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(shards: u8) -> KnownQueues {
        let mut settings = Settings::default();
        settings.providers.entry("niu".to_owned()).or_default().shards = shards;
        KnownQueues::open(&settings).unwrap()
    }

    fn of_niu(queues: &[OpenQueue]) -> Vec<String> {
        let queues = queues.iter().map(|open| open.queue);
        queues.filter(|queue| queue.provider() == "niu").map(|queue| queue.to_string()).collect()
    }

    #[test]
    fn the_next_shard_may_exist() {
        let known = known(1);
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu.0"]);
        known.add(Queue::shard("niu", 0)).unwrap();
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu.1"]);
        assert_eq!(of_niu(&known.all()), ["niu", "niu.0"]);
    }

    #[test]
    fn the_queue_without_shards_may_exist_too() {
        let known = known(2);
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu", "niu.2"]);
        known.add(Queue::unsharded("niu")).unwrap();
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu.2"]);
    }

    #[test]
    fn the_most_shards_leave_nothing_to_look_for() {
        let known = known(MAX_SHARDS);
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu"]);
    }

    #[test]
    fn witnesses_name_queues() {
        let known = known(2);
        known
            .add_named(["fleet:{niu.7}", "fleet:{niu.0}", "other:{niu.8}", "fleet:{tier}", "fleet:{niu.9"])
            .unwrap();
        assert_eq!(of_niu(&known.all()), ["niu.0", "niu.1", "niu.7"]);
        let named: Vec<_> = known.all().into_iter().filter(|open| !open.is_configured).collect();
        assert_eq!(of_niu(&named), ["niu.7"]);
        assert_eq!(of_niu(&known.possible().unwrap()), ["niu", "niu.2"], "gaps are looked for");
    }
}

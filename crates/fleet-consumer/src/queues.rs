//! The queues that this process knows, each with its connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_queue::{Queue, QueueError, RedisLink};
use fleet_runtime::settings::Settings;

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
    open: Arc<Mutex<BTreeMap<Queue, OpenQueue>>>,
}

impl KnownQueues {
    /// The queues that the settings name. Connects to none of them.
    pub(crate) fn open(settings: &Settings) -> Result<Self, QueueError> {
        let open = |queue| {
            let link = redis_link(settings, queue)?;
            Ok((queue, OpenQueue { queue, link, is_configured: true }))
        };
        let open: Result<BTreeMap<_, _>, QueueError> = settings.queues().map(open).collect();
        Ok(Self { open: Arc::new(Mutex::new(open?)) })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<OpenQueue> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Queue, OpenQueue>> {
        // The map is consistent between any two statements.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Publishes and logs which settings of Redis endanger accepted messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{Durability, Queue};
use fleet_runtime::liveness::idle;
use futures_util::future::join_all;

use crate::metrics;
use crate::queues::{KnownQueues, OpenQueue};

/// How often Redis' settings are read. People change them while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What endangers messages, and in which queues.
type Weaknesses = BTreeMap<String, Vec<Queue>>;

/// Publishes how many settings endanger messages, and logs them whenever they change. Queues may be on different servers.
/// `replicas` must confirm pushes.
pub(crate) async fn observe(known: KnownQueues, prefix: String, replicas: u32) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let mut logged = Weaknesses::new();
    loop {
        idle(interval.tick()).await;
        if let Some(weaknesses) = read(&known, &prefix, replicas).await {
            metrics::redis::redis_weaknesses(weaknesses.len());
            if weaknesses != logged {
                for (weakness, queues) in &weaknesses {
                    let queues = queues.iter().map(Queue::to_string).collect::<Vec<_>>().join(", ");
                    tracing::warn!(queues, "Redis is set up weaker than it should be: {weakness}");
                }
                logged = weaknesses;
            }
        }
    }
}

/// `None` if no server responds.
async fn read(known: &KnownQueues, prefix: &str, replicas: u32) -> Option<Weaknesses> {
    let open = known.all();
    let asked = if known.share_a_server() { open.get(..1).unwrap_or_default() } else { &open };
    // Together, so that a server that does not respond delays no other queue.
    let read = |open: &OpenQueue| {
        let (link, keys) = (Arc::clone(&open.link), open.queue.keys(prefix));
        async move { Durability::read(&link, &keys, replicas).await }
    };
    let read = join_all(asked.iter().map(read)).await;
    let mut found = None;
    for (open, durability) in open.iter().zip(read.iter().cycle()) {
        match durability {
            Ok(durability) => {
                let found = found.get_or_insert_with(Weaknesses::new);
                for weakness in durability.weaknesses() {
                    found.entry(weakness).or_default().push(open.queue);
                }
            }
            Err(error) => metrics::redis::redis_error(error.kind()),
        }
    }
    found
}

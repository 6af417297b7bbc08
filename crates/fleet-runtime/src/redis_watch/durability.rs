//! Watches whether the settings of Redis keep accepted messages safe.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use fleet_queue::Durability;
use futures_util::future::join_all;

use super::reports::Reports;
use super::watched_queue::WatchedQueue;

/// Time between two reads of Redis' settings, which operators may change at any time.
const READ_EVERY: Duration = Duration::from_secs(60);

/// What weakens Redis, and what this user may not read.
type Found = (BTreeSet<String>, BTreeSet<String>);

/// `replicas` must confirm pushes.
pub(super) async fn watch(queues: &[WatchedQueue], replicas: u32, reports: &Reports) -> Infallible {
    let mut interval = tokio::time::interval(READ_EVERY);
    let mut said = None;
    loop {
        interval.tick().await;
        let Some(found) = read(queues, replicas, reports).await else { continue };
        (reports.weaknesses)(u32::try_from(found.0.len()).unwrap_or(u32::MAX));
        if said.as_ref() != Some(&found) {
            report(&found);
            said = Some(found);
        }
    }
}

/// The settings of every server. `None` if none responds.
async fn read(queues: &[WatchedQueue], replicas: u32, reports: &Reports) -> Option<Found> {
    let reads = queues.iter().map(|watched| Durability::read(&watched.link, &watched.keys, replicas));
    let mut found: Option<Found> = None;
    for (watched, read) in queues.iter().zip(join_all(reads).await) {
        match read {
            Ok(durability) => {
                let (weak, unseen) = found.get_or_insert_with(Found::default);
                weak.extend(weaknesses(&durability, watched.caps_bytes));
                unseen.extend(durability.unseen());
            }
            Err(error) => {
                tracing::debug!(queue = %watched.queue, %error, "cannot read the settings of Redis");
                (reports.error)(error.kind());
            }
        }
    }
    found
}

fn weaknesses(durability: &Durability, caps_bytes: u64) -> Vec<String> {
    let mut weaknesses = durability.weaknesses();
    if durability.maxmemory_bytes.is_some_and(|maxmemory| maxmemory > 0 && maxmemory <= caps_bytes) {
        weaknesses.push(format!(
            "the providers' backlog caps add up to {caps_bytes} bytes; keep them below maxmemory, or one provider's \
             backlog takes the memory of the others"
        ));
    }
    weaknesses
}

fn report((weaknesses, unseen): &Found) {
    for weakness in weaknesses {
        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
    }
    if !unseen.is_empty() {
        let unseen: Vec<_> = unseen.iter().map(String::as_str).collect();
        tracing::info!(
            "this Redis user has no permission to check durability (CONFIG GET, ACL DRYRUN); make sure that Redis runs with {}",
            unseen.join(", ")
        );
    }
}

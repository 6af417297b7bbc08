//! Watches whether Redis is reachable, and whether its settings keep accepted messages safe.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Durability, QueueError, QueueKeys, RedisLink};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::readiness::Readiness;

use crate::metrics;
use crate::replica_watch::ReplicaWatch;

/// Time between two attempts to reach Redis at the start.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Time between two reads of Redis' settings, which operators may change at any time.
const READ_EVERY: Duration = Duration::from_secs(60);

/// Sets the API ready once Redis responds. The API stays ready if Redis fails later: otherwise every replica would leave the
/// load balancer at once, and providers would receive no 503. Then watches Redis' settings, and its `replicas` if pushes wait
/// for them. Ends only with an error that no retry can solve.
pub(crate) async fn watch(
    link: RedisLink,
    keys: QueueKeys,
    readiness: Arc<Readiness>,
    caps_bytes: u64,
    replicas: Option<ReplicaWatch>,
) -> QueueError {
    if let Err(unusable) = reach(&link).await {
        return unusable;
    }
    readiness.set_started();
    let wanted = replicas.as_ref().map_or(0, |replicas| replicas.wanted);
    let durability = watch_durability(&link, &keys, caps_bytes, wanted);
    match replicas {
        None => match durability.await {},
        Some(replicas) => tokio::select! {
            never = durability => match never {},
            never = replicas.run() => match never {},
        },
    }
}

async fn reach(link: &RedisLink) -> Result<(), QueueError> {
    let mut interval = tokio::time::interval(RETRY_EVERY);
    let mut outage = OutageLog::default();
    loop {
        interval.tick().await;
        match link.ping().await {
            Ok(()) => {
                if let Some(Over { failures, lasted }) = outage.succeeded(Instant::now()) {
                    tracing::info!(failures, seconds = lasted.as_secs(), "Redis responds");
                }
                return Ok(());
            }
            Err(error) if error.is_permanent() => return Err(error),
            Err(error) => {
                metrics::redis_error(error.kind());
                if let Some(Failing { failures, lasted }) = outage.failed(Instant::now(), 1) {
                    tracing::warn!(failures, seconds = lasted.as_secs(), kind = error.kind(), %error, "waiting for Redis");
                }
            }
        }
    }
}

async fn watch_durability(link: &RedisLink, keys: &QueueKeys, caps_bytes: u64, replicas: u32) -> Infallible {
    let mut interval = tokio::time::interval(READ_EVERY);
    let mut said = None;
    loop {
        interval.tick().await;
        match Durability::read(link, keys, replicas).await {
            Ok(durability) => {
                let weaknesses = weaknesses(&durability, caps_bytes);
                metrics::redis_weaknesses(u32::try_from(weaknesses.len()).unwrap_or(u32::MAX));
                let found = (weaknesses, durability.unseen());
                if said.as_ref() != Some(&found) {
                    report(&found.0, &found.1);
                    said = Some(found);
                }
            }
            Err(error) => metrics::redis_error(error.kind()),
        }
    }
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

fn report(weaknesses: &[String], unseen: &[String]) {
    for weakness in weaknesses {
        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
    }
    if !unseen.is_empty() {
        tracing::info!(
            "this Redis user has no permission to check durability (CONFIG GET, ACL DRYRUN); make sure that Redis runs with {}",
            unseen.join(", ")
        );
    }
}

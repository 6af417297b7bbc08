//! Whether Redis is there, and whether it keeps what it accepts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_queue::{Durability, QueueError, QueueKeys, RedisLink};
use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::readiness::Readiness;

use crate::metrics;

/// Between two tries to reach Redis at the start.
const REACH_EVERY: Duration = Duration::from_millis(250);

/// Between two looks at Redis' settings, which people change while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Makes the API ready once Redis answers, for good: a Redis that goes away later is answered 503, not by taking every
/// replica out of service at once. Then watches its settings. Ends only with an error that no retry can help.
pub(crate) async fn watch(
    link: RedisLink,
    keys: QueueKeys,
    readiness: Arc<Readiness>,
    caps_bytes: u64,
) -> QueueError {
    if let Err(unusable) = reach(&link).await {
        return unusable;
    }
    readiness.set_started();
    match watch_durability(&link, &keys, caps_bytes).await {}
}

async fn reach(link: &RedisLink) -> Result<(), QueueError> {
    let mut interval = tokio::time::interval(REACH_EVERY);
    let mut outage = OutageLog::default();
    loop {
        interval.tick().await;
        match link.ping().await {
            Ok(()) => {
                if let Some(Over { failures, lasted }) = outage.succeeded(Instant::now()) {
                    tracing::info!(failures, seconds = lasted.as_secs(), "Redis is there");
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

async fn watch_durability(link: &RedisLink, keys: &QueueKeys, caps_bytes: u64) -> Infallible {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let mut said = None;
    loop {
        interval.tick().await;
        match Durability::read(link, keys).await {
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
             backlog takes the others' room"
        ));
    }
    weaknesses
}

fn report(weaknesses: &[String], unseen: &[&str]) {
    for weakness in weaknesses {
        tracing::warn!("Redis is set up weaker than it should be: {weakness}");
    }
    if !unseen.is_empty() {
        tracing::info!(
            "this user may not see how durable Redis is (CONFIG GET, ACL DRYRUN): make sure that it runs with {}",
            unseen.join(", ")
        );
    }
}

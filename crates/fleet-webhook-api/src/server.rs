//! Putting it together: from settings and listeners to a running API.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Response};
use fleet_providers::{AuthScheme, Provider};
use fleet_queue::{Envelope, Producer, QueueError, QueueKeys, RedisLink};
use fleet_runtime::admin::Readiness;
use fleet_runtime::http::{Peer, ServeLimits, serve};
use fleet_runtime::logging::trace_id;
use fleet_runtime::settings::Settings;
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::{NoContext, Uuid};

use crate::admission::{Admission, AdmissionLimits};
use crate::group_commit::{CommitLimits, GroupCommit, Share};
use crate::metrics::{self, CommitMetrics, WebhookMetrics};
use crate::redis_watch;
use crate::refusals::{self, Refusals};
use crate::response::{Outcome, respond};
use crate::secrets::{self, SecretsInUse};
use crate::source_settings::SourceSettings;
use crate::webhook::{Admitted, SpareHeaders, Verified, VerifiedWebhook, split_path, traceparent};

/// One served provider.
#[derive(Debug)]
pub struct Source {
    pub(crate) provider: &'static Provider,
    pub(crate) scheme: AuthScheme,
    pub(crate) secrets: Arc<SecretsInUse>,
    pub(crate) commit: GroupCommit,
    pub(crate) admission: Admission,
    metrics: WebhookMetrics,
    refusals: Arc<Refusals>,
}

struct Api {
    sources: HashMap<&'static str, Arc<Source>>,
    unknown: WebhookMetrics,
    unknown_refusals: Arc<Refusals>,
    retry_after: Duration,
}

/// What requests that name no served provider are logged under, as in the metrics.
const UNKNOWN: &str = "unknown";

/// A connection is not closed to make room before this. Whoever sends a request at once, as providers do, has been read by
/// then.
const GRACE: Duration = Duration::from_millis(100);

/// After the shutdown has begun: a connection over which more than one webhook a second comes brings another one by then.
const IDLE_DRAIN: Duration = Duration::from_secs(1);

/// Serves webhooks until `shutdown`, then finishes the requests at work. Returns whether all of them ended in time.
///
/// # Errors
///
/// [`QueueError::Url`] if Redis' URL is not valid, [`QueueError::Cluster`] if it leads to a Redis Cluster. An unreachable
/// Redis is no error: requests are answered 503 until it is there.
pub async fn run(
    settings: &Settings,
    sources: Vec<SourceSettings>,
    listener: TcpListener,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<bool, QueueError> {
    metrics::describe();
    let caps_bytes = sources.iter().map(|source| source.max_backlog_bytes).fold(0, u64::saturating_add);
    let first_queue = sources.first().map_or("", |source| source.provider.slug);
    let keys = QueueKeys::new(&settings.queue.prefix, first_queue);
    let mut tasks = JoinSet::new();
    let mut served = HashMap::new();
    let unknown_refusals = Arc::new(Refusals::new(UNKNOWN));
    let mut every_refusal = vec![Arc::clone(&unknown_refusals)];
    for (share, source) in Share::among(sources.len()).zip(sources) {
        // A link each, so that one provider's pushes never wait behind another's.
        let link = Arc::new(RedisLink::trusting(
            settings.tls.ca_file.as_deref(),
            settings.redis_url.expose(),
            settings.queue.timeout,
        )?);
        let slug = source.provider.slug;
        let (commit, committer) = GroupCommit::new(
            Producer::new(link, &settings.queue.prefix, slug),
            commit_limits(settings, &source),
            share,
            CommitMetrics::new(slug),
        );
        // One call to Redis waits longest: for a connection, then for the reply.
        let longest_wait = settings.queue.timeout;
        tasks.spawn(readiness.liveness().watch(format!("committer {slug}"), longest_wait, committer));
        let refusals = Arc::new(Refusals::new(slug));
        every_refusal.push(Arc::clone(&refusals));
        let SourceSettings { provider, scheme, secrets, secrets_file, max_backlog_bytes: _, max_body_bytes } =
            source;
        let secrets = Arc::new(SecretsInUse::new(secrets));
        if let Some(path) = secrets_file {
            let (watching, shutdown) = (secrets::watch(slug, path, Arc::clone(&secrets)), shutdown.clone());
            tasks.spawn(async move {
                tokio::select! {
                    never = watching => match never {},
                    () = shutdown.cancelled() => {}
                }
            });
        }
        served.insert(
            slug,
            Arc::new(Source {
                provider,
                scheme,
                secrets,
                commit,
                admission: admission(settings, slug, max_body_bytes),
                metrics: WebhookMetrics::new(slug),
                refusals,
            }),
        );
    }
    let api = Arc::new(Api {
        sources: served,
        unknown: WebhookMetrics::unknown(),
        unknown_refusals,
        retry_after: settings.api.retry_after,
    });
    let app = move |request, peer| receive(&api, request, peer);
    let link = RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    )?;
    let watching = redis_watch::watch(link, keys, Arc::clone(&readiness), caps_bytes);
    let limits = ServeLimits {
        listener: "webhooks",
        max_connections: settings.api.max_connections,
        grace: GRACE,
        keep_alive: true,
        has_spare_file: false,
        header_timeout: settings.api.header_timeout,
        shutdown_timeout: settings.api.shutdown_timeout,
        idle_drain: IDLE_DRAIN,
    };
    tasks.spawn(close_readiness(readiness, shutdown.clone()));
    let summing_up = refusals::watch(every_refusal.clone());
    let clean = tokio::select! {
        clean = serve(listener, app, limits, shutdown) => clean,
        () = a_panic(&mut tasks) => {
            tracing::error!("stopping: a task that every webhook needs has panicked, as logged above");
            false
        }
        // Nothing has been accepted: what is at work is answered by nobody else either.
        unusable = watching => return Err(unusable),
        never = summing_up => match never {},
    };
    every_refusal.iter().for_each(|refusals| refusals.sum_up());
    // The app went with the server, and the last handles with the last request: the committers end by themselves.
    if !clean {
        tasks.abort_all();
    }
    while tasks.join_next().await.is_some() {}
    Ok(clean)
}

/// Waits for a task that panics; others may end as they like.
async fn a_panic(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn close_readiness(readiness: Arc<Readiness>, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    readiness.set_stopping();
}

fn commit_limits(settings: &Settings, source: &SourceSettings) -> CommitLimits {
    CommitLimits {
        max_messages: settings.api.commit_max_messages.max(1),
        max_bytes: settings.api.commit_max_bytes,
        queue: settings.api.commit_queue.max(1),
        max_backlog_bytes: source.max_backlog_bytes,
    }
}

fn admission(settings: &Settings, provider: &'static str, max_body_bytes: u64) -> Admission {
    let limits = AdmissionLimits {
        max_requests: settings.api.max_in_flight,
        // Together with the requests at work, by default half of the connections, it leaves a quarter to the others.
        max_kept_connections: settings.api.max_connections.div_ceil(4),
        max_bytes: settings.api.max_in_flight_bytes,
        max_unauthenticated_bytes: settings.api.max_unauthenticated_bytes,
        max_body_bytes,
        body_timeout: settings.api.body_timeout,
    };
    Admission::new(provider, limits)
}

/// What is known of a request from its head.
struct Arrival {
    started: Instant,
    received_at: Timestamp,
    message_id: Uuid,
    traceparent: Option<String>,
}

/// Answers one request. The first check is which provider is meant, and whether there is one, for every path and
/// method: a router would have nothing to decide.
fn receive(
    api: &Arc<Api>,
    request: Request<Incoming>,
    peer: Peer,
) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<> {
    let received_at = Timestamp::now();
    let arrival = Arrival {
        started: Instant::now(),
        received_at,
        message_id: message_id(received_at),
        traceparent: traceparent(request.headers()),
    };
    let named = split_path(request.uri().path()).and_then(|(slug, topic)| {
        let source = api.sources.get(slug)?;
        Some((Arc::clone(source), topic.to_owned()))
    });
    let api = Arc::clone(api);
    // The head ends here, so that a waiting request does not hold it.
    let checked = named.map(|(source, topic)| {
        let admitted = Admitted::check(request, peer, Arc::clone(&source), topic);
        (source, admitted)
    });
    async move {
        let Some((source, admitted)) = checked else {
            let outcome = Outcome::UnknownProvider;
            arrival.note(outcome, &api.unknown, &api.unknown_refusals);
            return respond(outcome, None, arrival.message_id, api.retry_after, SpareHeaders::default());
        };
        let (outcome, spare) = match admitted {
            Ok(admitted) => accept(&source.commit, admitted, &arrival).await,
            Err(refused) => (refused, SpareHeaders::default()),
        };
        arrival.note(outcome, &source.metrics, &source.refusals);
        respond(outcome, Some(source.provider), arrival.message_id, api.retry_after, spare)
    }
}

/// A UUIDv7 of that time; nothing asks for those of one millisecond to be in order.
fn message_id(received_at: Timestamp) -> Uuid {
    let seconds = u64::try_from(received_at.as_second()).unwrap_or_default();
    let nanoseconds = u32::try_from(received_at.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

async fn accept(commit: &GroupCommit, admitted: Admitted, arrival: &Arrival) -> (Outcome, SpareHeaders) {
    let Verified { webhook, permits, spare, kept: _kept } = match admitted.verify().await {
        Ok(verified) => verified,
        Err(refused) => return (refused, SpareHeaders::default()),
    };
    let pushing = commit.push(&arrival.envelope(&webhook), permits);
    // It is in the batch now. hyper reads the next request into the buffer that the body was in.
    drop(webhook);
    (pushing.await, spare)
}

impl Arrival {
    fn envelope<'a>(&'a self, webhook: &'a VerifiedWebhook) -> Envelope<'a> {
        Envelope {
            message_id: self.message_id,
            received_at: self.received_at,
            topic: webhook.topic(),
            content_type: webhook.content_type(),
            traceparent: self.traceparent.as_deref(),
            body: webhook.body(),
        }
    }

    /// Counts and logs the answer: every one at debug, as an outsider must not be able to fill the log.
    fn note(&self, outcome: Outcome, metrics: &WebhookMetrics, refusals: &Refusals) {
        metrics.answered(outcome, self.started.elapsed());
        refusals.note(outcome, self.message_id);
        tracing::debug!(
            provider = refusals.provider(),
            message_id = %self.message_id,
            trace_id = trace_id(self.traceparent.as_deref()),
            outcome = outcome.name(),
            "answered a webhook"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_noticed_also_after_other_tasks_have_ended() {
        let mut tasks = JoinSet::new();
        tasks.spawn(async {});
        tasks.spawn(std::future::pending());
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, a_panic(&mut tasks)).await.is_err(), "nothing has panicked yet");
        tasks.spawn(async { panic!("on purpose") });
        tokio::time::timeout(Duration::from_secs(10), a_panic(&mut tasks)).await.unwrap();
    }
}

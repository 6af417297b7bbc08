//! From settings to a running bridge, and to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::QueueError;
use fleet_runtime::readiness::Readiness;
use fleet_runtime::redis_watch::{PushedQueues, Reports, watch_redis};
use fleet_runtime::retry::Backoff;
use fleet_runtime::settings::Settings;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bridge_settings::{BridgeSettings, Broker};
use crate::consuming::Consuming;
use crate::fault::Fault;
use crate::lane::Lane;
use crate::link::Link;
use crate::metrics;
use crate::stream_log::LinkLog;

/// Consumes until `shutdown`, then finishes what has been delivered. Returns whether all of it was pushed and acknowledged in
/// time.
///
/// # Errors
///
/// [`QueueError::Url`] if Redis' URL is not valid, [`QueueError::WrongTopology`] if Redis has another topology. An unreachable
/// Redis or broker is no error: the bridge waits for it.
pub async fn run(
    settings: &Settings,
    bridge: &BridgeSettings,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<bool, QueueError> {
    metrics::describe();
    let consuming = Arc::new(Consuming::new(Arc::clone(&readiness), bridge.queues.len()));
    let watching = watch(settings, bridge, &consuming)?;
    let (mut lanes, mut watches) = (Vec::new(), Vec::new());
    for (number, queue) in bridge.queues.iter().enumerate() {
        let (lane, shards) = Lane::open(settings, bridge, (number, queue), &consuming)?;
        lanes.push(lane);
        watches.extend(shards);
    }
    let shards = join_all(watches.into_iter().map(|watch| never(watch.run())));
    let mut connections = Connections {
        broker: &bridge.broker,
        backoff: settings.amqp.retries().start(),
        log: LinkLog::new(bridge.broker.address()),
        shutdown_timeout: settings.amqp.shutdown_timeout,
    };
    let work = connections.serve(&mut lanes, &readiness, &shutdown);
    let work = readiness.liveness().watch("bridge".to_owned(), longest_wait(settings), work);
    tokio::select! {
        is_clean = work => Ok(is_clean),
        unusable = watching => Err(unusable),
        _never = shards => Ok(false),
    }
}

/// The longest time for which a bridge that works may have nothing to do.
fn longest_wait(settings: &Settings) -> Duration {
    let amqp = &settings.amqp;
    amqp.timeout
        .max(settings.queue.timeout)
        .max(amqp.check_interval)
        .max(amqp.retries().longest)
        .max(amqp.abort_pauses().longest)
        .max(amqp.shutdown_timeout)
}

async fn never(task: impl Future<Output = Infallible>) {
    match task.await {}
}

/// Watches Redis. The future ends only if Redis can never be used.
fn watch(
    settings: &Settings,
    bridge: &BridgeSettings,
    consuming: &Arc<Consuming>,
) -> Result<impl Future<Output = QueueError> + use<>, QueueError> {
    let pushed =
        PushedQueues { queues: bridge.redis_queues.clone(), max_backlog_bytes: bridge.max_backlog_bytes };
    let reports = Reports {
        error: metrics::redis_error,
        weaknesses: metrics::redis_weaknesses,
        replicas_missing: metrics::redis_replicas_missing,
        unconfirmed: "messages stay unacknowledged at the broker",
    };
    let consuming = Arc::clone(consuming);
    watch_redis(settings, &[pushed], reports, move || consuming.reached_redis())
}

/// After a connection that has lasted for so long, the pauses begin with the shortest.
const STABLE: Duration = Duration::from_secs(60);

/// Connects to the broker, again and again.
struct Connections<'a> {
    broker: &'a Broker,
    backoff: Backoff,
    log: LinkLog,
    shutdown_timeout: Duration,
}

impl Connections<'_> {
    /// Returns whether all that has been delivered was pushed and acknowledged.
    async fn serve(
        &mut self,
        lanes: &mut [Lane],
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> bool {
        for generation in 1.. {
            let opened = tokio::select! {
                opened = Link::open(self.broker, generation) => opened,
                () = shutdown.cancelled() => break,
            };
            let fault = match opened {
                Ok(link) => {
                    self.log.connected();
                    match self.consume(&link, lanes, readiness, shutdown).await {
                        Ok(is_clean) => return is_clean,
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            metrics::connection_failed(&fault);
            self.log.failed(&fault);
            tokio::select! {
                () = sleep(self.backoff.next_pause()) => {}
                () = shutdown.cancelled() => break,
            }
        }
        readiness.set_stopping();
        true
    }

    /// Consumes on one connection.
    async fn consume(
        &mut self,
        link: &Link,
        lanes: &mut [Lane],
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> Result<bool, Fault> {
        let began = Instant::now();
        let lanes = lanes.iter_mut().map(async |lane| {
            let result = lane.run(link, shutdown).await;
            if result.is_err() {
                // The other lanes finish the push that they are doing.
                link.down.cancel();
            }
            result
        });
        let deadline = async {
            shutdown.cancelled().await;
            readiness.set_stopping();
            sleep(self.shutdown_timeout).await;
        };
        let results = tokio::select! {
            results = join_all(lanes) => results,
            never = never_ends(link.watch()) => match never {},
            () = deadline => {
                tracing::warn!("the time for the shutdown is over: the broker delivers the unacknowledged messages again");
                return Ok(false);
            }
        };
        let cause = link.cause(results.into_iter().filter_map(Result::err));
        if shutdown.is_cancelled() {
            return Ok(close(link, cause).await);
        }
        if began.elapsed() >= STABLE {
            self.backoff.reset();
        }
        cause.map_or(Ok(true), Err)
    }
}

/// Closes the connection at the end of the process. Returns whether all acks have reached the broker.
async fn close(link: &Link, fault: Option<Fault>) -> bool {
    let closed = match fault {
        None => link.close().await,
        Some(fault) => Err(fault),
    };
    let Err(fault) = closed else { return true };
    tracing::warn!(error = %fault, "the connection to the broker was not closed cleanly: messages may be delivered again");
    false
}

/// Goes on waiting after `task` has ended.
async fn never_ends(task: impl Future<Output = ()>) -> Infallible {
    task.await;
    std::future::pending().await
}

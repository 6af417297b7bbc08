//! From settings and a listener to a running service, and to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::http::{Peer, ServeLimits, serve};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::{ConnectionUrl, QuerySettings, Settings, SettingsError, environment_name};
use fleet_store::{Database, DatabaseOptions, Lookout, TrackStore};
use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::access::Access;
use crate::answer::map::{Map, MapSettings};
use crate::answer::router::router;
use crate::app::{App, Bounds};
use crate::knowledge::Knowledge;
use crate::metrics;
use crate::refresh::{Refresh, watch_age};

/// A new connection is not closed to make room before this time has passed.
const GRACE: Duration = Duration::from_millis(100);

/// How long idle connections stay open after the shutdown has begun.
const IDLE_DRAIN: Duration = Duration::from_secs(1);

/// Everything that the settings of the service must allow, checked.
#[derive(Debug)]
pub struct Prepared {
    access: Access,
    map: Map,
    lookout: Database,
    tracks: Database,
}

/// Checks everything that the start and `check-config` refuse, without connecting.
///
/// # Errors
///
/// All problems at once.
pub fn prepare(settings: &Settings) -> Result<Prepared, SettingsError> {
    let mut problems = Vec::new();
    let mut note = |SettingsError(found)| problems.extend(found);
    let access = Access::new(&settings.query, settings.database.pool_size).map_err(&mut note).ok();
    let needs_token = access.as_ref().is_some_and(Access::needs_token);
    let map = map(&settings.query, needs_token).map_err(&mut note).ok();
    // A pool of its own, so that tracks cannot delay what keeps the fleet up to date.
    let lookout = database(settings, "database_url", &settings.database_url, 1).map_err(&mut note).ok();
    let (key, url) = match &settings.telemetry_database_url {
        Some(url) => ("telemetry_database_url", url),
        None => ("database_url", &settings.database_url),
    };
    let tracks = database(settings, key, url, settings.database.pool_size).map_err(&mut note).ok();
    match (access, map, lookout, tracks) {
        (Some(access), Some(map), Some(lookout), Some(tracks)) => {
            Ok(Prepared { access, map, lookout, tracks })
        }
        _some_are_missing => Err(SettingsError(problems)),
    }
}

fn map(settings: &QuerySettings, needs_token: bool) -> Result<Map, SettingsError> {
    let QuerySettings { tile_url, tile_attribution, .. } = settings.clone();
    Map::new(&MapSettings { needs_token, tile_url, tile_attribution }).ok_or_else(|| {
        SettingsError(vec![
            "FLEET_QUERY__TILE_URL (query.tile_url): must begin with https:// and a host, such as \
             https://tiles.example/{z}/{x}/{y}.png"
                .to_owned(),
        ])
    })
}

fn database(
    settings: &Settings,
    key: &str,
    url: &ConnectionUrl,
    pool_size: usize,
) -> Result<Database, SettingsError> {
    let options = DatabaseOptions {
        url: url.expose(),
        ca_file: settings.tls.ca_file.as_deref(),
        pool_size,
        connect_timeout: settings.database.connect_timeout,
        statement_timeout: settings.database.statement_timeout,
        application_name: "fleet-query-api",
    };
    Database::open(&options)
        .map_err(|error| SettingsError(vec![format!("{} ({key}): {error}", environment_name(key))]))
}

/// Serves until `shutdown`, then ends the streams and finishes the requests in flight. Returns whether all of them ended in time.
/// An unreachable database is no error.
pub async fn run(
    settings: &Settings,
    prepared: Prepared,
    listener: TcpListener,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> bool {
    let Prepared { access, map, lookout, tracks } = prepared;
    let query = &settings.query;
    metrics::describe();
    metrics::streams_max(access.max_streams());
    // The lower half is random.
    let (_time, instance) = Uuid::now_v7().as_u64_pair();
    let knowledge = Arc::new(Knowledge::new(query.remembered_changes, instance));
    let refresh = Refresh::new(
        Lookout::new(lookout),
        Arc::clone(&knowledge),
        Arc::clone(&readiness),
        query.refresh_interval,
    );
    let longest_wait = settings.database.statement_timeout + settings.database.connect_timeout * 2;
    // Ends with this function.
    let refreshing = AbortOnDropHandle::new(tokio::spawn(readiness.liveness().watch(
        "refresh".to_owned(),
        longest_wait,
        refresh.run(),
    )));
    let aging = watch_age(Arc::clone(&knowledge), Arc::clone(&readiness), query.max_age, tracks.clone());
    let app = Arc::new(App {
        knowledge,
        tracks: TrackStore::new(tracks),
        bounds: Bounds {
            max_page: query.max_page,
            max_track_span: SignedDuration::try_from(query.max_track_span).unwrap_or(SignedDuration::MAX),
            response_timeout: query.response_timeout,
            track_wait: settings.database.connect_timeout,
            heartbeat: query.heartbeat,
        },
        shutdown: shutdown.clone(),
    });
    let service = TowerToHyperService::new(router(app, &Arc::new(access), map));
    let app = move |mut request: Request<Incoming>, peer: Peer| {
        request.extensions_mut().insert(peer);
        service.call(request).map(|Ok(response)| response)
    };
    let stopping = close_readiness(Arc::clone(&readiness), shutdown.clone());
    tokio::select! {
        clean = serve(listener, app, serve_limits(query), shutdown) => clean,
        _panicked = refreshing => {
            tracing::error!("stopping: the task that keeps the vehicles up to date has panicked, as logged above");
            false
        }
        never = aging => match never {},
        never = stopping => match never {},
    }
}

fn serve_limits(settings: &QuerySettings) -> ServeLimits {
    ServeLimits {
        listener: "queries",
        max_connections: settings.max_connections,
        grace: GRACE,
        keep_alive: true,
        has_spare_file: false,
        header_timeout: settings.header_timeout,
        shutdown_timeout: settings.shutdown_timeout,
        idle_drain: IDLE_DRAIN,
    }
}

async fn close_readiness(readiness: Arc<Readiness>, shutdown: CancellationToken) -> Infallible {
    shutdown.cancelled().await;
    readiness.set_stopping();
    std::future::pending().await
}

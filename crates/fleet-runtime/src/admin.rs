//! The admin listener: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::FutureExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{ServeLimits, serve};
use crate::liveness::Liveness;
use crate::metrics::Metrics;

/// Whether this process may be sent work, and whether its tasks make progress.
#[derive(Debug, Default)]
pub struct Readiness {
    started: AtomicBool,
    stopping: AtomicBool,
    liveness: Liveness,
}

impl Readiness {
    /// Everything it needs has been reached once.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// It is shutting down.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The tasks whose progress decides what `/livez` answers.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        if self.stopping.load(Ordering::Acquire) {
            (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
        } else if self.started.load(Ordering::Acquire) {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "starting: see the log for what it waits for\n")
        }
    }
}

#[derive(Clone)]
struct Admin {
    readiness: Arc<Readiness>,
    metrics: Metrics,
}

/// Serves health and metrics until `shutdown`.
pub async fn serve_admin(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let upkeep = metrics.clone();
    let router = Router::new()
        .route("/livez", get(|State(admin): State<Admin>| async move { alive(admin.readiness.liveness()) }))
        .route("/readyz", get(|State(admin): State<Admin>| async move { admin.readiness.answer() }))
        .route("/metrics", get(render_metrics))
        .with_state(Admin { readiness, metrics });
    let router = TowerToHyperService::new(router);
    let app = move |request| router.call(request).map(|Ok(response)| response);
    let limits = ServeLimits {
        max_connections: 64,
        header_timeout: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(1),
        idle_drain: Duration::ZERO,
    };
    // Histograms collect samples until somebody drains them.
    let upkeep = async {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            upkeep.drain();
        }
    };
    tokio::select! {
        _clean = serve(listener, app, limits, shutdown) => {}
        () = upkeep => {}
    }
}

/// 503 with the names of the tasks that hang: a restart helps then, and only then.
fn alive(liveness: &Liveness) -> (StatusCode, String) {
    let hanging = liveness.hanging();
    if hanging.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let mut text = String::new();
    for hang in hanging {
        tracing::error!(
            task = hang.task,
            silent_s = hang.silence.as_secs(),
            "a task hangs: /livez is answered 503 so that this process is restarted; please report it with the log"
        );
        text.push_str(&format!("{hang}\n"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn render_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        admin.metrics.render(admin.readiness.liveness()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_is_named() {
        let liveness = Liveness::default();
        assert_eq!(alive(&liveness), (StatusCode::OK, "alive\n".to_owned()));
        let hung =
            liveness.watch_with("worker niu 1".to_owned(), Duration::ZERO, std::future::pending::<()>());
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (status, text) = alive(&liveness);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("worker niu 1 has made no progress"), "{text}");
        drop(hung);
        assert_eq!(alive(&liveness).0, StatusCode::OK);
    }
}

//! The admin listener: `/livez`, `/readyz`, `/metrics`.
//!
//! It has a thread and a runtime of its own. A task that blocks the working runtime's thread would block the responses there,
//! and it is this task that `/livez` must name.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::FutureExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::{ServeLimits, serve};
use crate::liveness::Liveness;
use crate::metrics::{self, Metrics};
use crate::readiness::{Readiness, State};

/// Most connections to health and metrics.
pub const MAX_CONNECTIONS: usize = 64;

/// Most connections that wait in the kernel until they are accepted.
pub const BACKLOG: u32 = 1024;

/// A probe sends its request at once. With a time this short it gets through thousands of other connections a second.
const GRACE: Duration = Duration::from_millis(10);

/// Time between two beats of the working runtime.
const BEAT: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Admin {
    readiness: Arc<Readiness>,
    metrics: Metrics,
}

type AdminState = extract::State<Admin>;

/// Serves health and metrics for as long as the process lives, and watches the runtime of the caller, which does the work.
/// The returned future ends only if serving or watching ends, which is a defect.
///
/// # Errors
///
/// If the system gives no thread or file descriptors.
pub fn serve_admin(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: Metrics,
) -> io::Result<impl Future<Output = ()>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = listener.into_std()?;
    let beating = tokio::spawn(readiness.liveness().watch("runtime".to_owned(), BEAT, beat()));
    let (running, ended) = oneshot::channel::<()>();
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        // Dropped at the end, also by a panic.
        let _running = running;
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve_with_upkeep(listener, readiness, metrics).await,
                Err(error) => tracing::error!(%error, "cannot serve health and metrics"),
            }
        });
    })?;
    Ok(async {
        tokio::select! {
            _running_is_gone = ended => {}
            _panicked = beating => {}
        }
    })
}

/// Shows that the runtime runs its tasks, and how late.
async fn beat() {
    loop {
        let due = Instant::now() + BEAT;
        tokio::time::sleep_until(due).await;
        metrics::timer_lag(due.elapsed());
    }
}

async fn serve_with_upkeep(listener: TcpListener, readiness: Arc<Readiness>, metrics: Metrics) {
    let upkeep = metrics.clone();
    let router = Router::new()
        .route("/livez", get(async |admin: AdminState| livez(admin.readiness.liveness())))
        .route("/readyz", get(async |admin: AdminState| readyz(admin.readiness.state())))
        .route("/metrics", get(render_metrics))
        .with_state(Admin { readiness, metrics });
    let router = TowerToHyperService::new(router);
    let app = move |request, _peer| router.call(request).map(|Ok(response)| response);
    let limits = ServeLimits {
        listener: "admin",
        max_connections: MAX_CONNECTIONS,
        grace: GRACE,
        // Probes and scrapes are seconds apart.
        keep_alive: false,
        has_spare_file: true,
        header_timeout: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(1),
        idle_drain: Duration::ZERO,
    };
    // Histograms keep their samples until they are drained.
    let upkeep = async {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        loop {
            interval.tick().await;
            upkeep.drain();
        }
    };
    tokio::select! {
        _clean = serve(listener, app, limits, CancellationToken::new()) => {}
        () = upkeep => {}
    }
}

/// 503 with the names of the tasks that hang, which only a restart helps.
fn livez(liveness: &Liveness) -> (StatusCode, String) {
    let hanging = liveness.hanging();
    if hanging.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let mut text = String::new();
    for hang in hanging {
        tracing::error!(
            task = hang.task,
            silent_s = hang.silence.as_secs(),
            "a task hangs: answering /livez with 503, so that this process is restarted; please report this with the log"
        );
        text.push_str(&format!("{hang}\n"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

fn readyz(state: State) -> (StatusCode, &'static str) {
    match state {
        State::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the log says what this process waits for\n")
        }
        State::Ready => (StatusCode::OK, "ready\n"),
        State::Outdated => {
            (StatusCode::SERVICE_UNAVAILABLE, "outdated: the log says what this process cannot reach\n")
        }
        State::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}

async fn render_metrics(admin: AdminState) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        admin.metrics.render(&admin.readiness),
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_named() {
        let liveness = Liveness::default();
        assert_eq!(livez(&liveness), (StatusCode::OK, "alive\n".to_owned()));
        let hung =
            liveness.watch_with("worker niu 1".to_owned(), Duration::ZERO, std::future::pending::<()>());
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (status, text) = livez(&liveness);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("worker niu 1 has made no progress"), "{text}");
        drop(hung);
        assert_eq!(livez(&liveness).0, StatusCode::OK);
    }

    /// The whole response; blocks this thread.
    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[tokio::test]
    async fn a_thread_that_is_not_given_back_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = crate::metrics::collect_metrics("test", &[]).unwrap();
        let _ended = serve_admin(listener, Arc::default(), metrics).unwrap();
        // Lets the beat begin.
        tokio::task::yield_now().await;

        // From here on its only thread is blocked.
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let silence = || {
            let response = ask(address, "/metrics");
            let mut lines = response.lines();
            lines
                .find_map(|line| line.strip_prefix("fleet_runtime_task_silence_seconds ")?.parse().ok())
                .unwrap()
        };
        while Duration::from_secs_f64(silence()) < BEAT * 3 / 2 {
            assert!(Instant::now() < deadline, "the blocked thread is not noticed");
        }
    }
}

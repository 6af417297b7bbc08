//! The admin listener: `/livez`, `/readyz`, `/metrics`.
//!
//! It has a thread and a runtime of its own: a task that never gives the working runtime's thread back would keep an
//! answer there from being made, and it is what `/livez` is to name.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
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
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::{ServeLimits, serve};
use crate::liveness::Liveness;
use crate::metrics::{self, Metrics};

/// Most connections to health and metrics.
pub const MAX_CONNECTIONS: usize = 64;

/// Connections that may wait in the kernel until they are accepted.
pub const BACKLOG: u32 = 1024;

/// A probe sends its request at once. So short a time lets it in beside thousands of others a second.
const GRACE: Duration = Duration::from_millis(10);

/// Between two looks at the working runtime.
const BEAT: Duration = Duration::from_secs(1);

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

    /// Whether `/readyz` is answered 200.
    pub(crate) fn is_ready(&self) -> bool {
        self.answer().0 == StatusCode::OK
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

/// Serves health and metrics for as long as the process lives, and watches the runtime of the caller, which does the
/// work. The future that it returns is ready if that ends, which is a defect.
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
        // Dropped at the end, also in a panic.
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

/// Shows that the runtime gets round to its tasks, and how late.
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
        .route("/livez", get(|State(admin): State<Admin>| async move { alive(admin.readiness.liveness()) }))
        .route("/readyz", get(|State(admin): State<Admin>| async move { admin.readiness.answer() }))
        .route("/metrics", get(render_metrics))
        .with_state(Admin { readiness, metrics });
    let router = TowerToHyperService::new(router);
    let app = move |request, _peer| router.call(request).map(|Ok(response)| response);
    let limits = ServeLimits {
        listener: "admin",
        max_connections: MAX_CONNECTIONS,
        grace: GRACE,
        // Whoever asks for health or metrics does so seconds apart.
        keep_alive: false,
        has_spare_file: true,
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
        _clean = serve(listener, app, limits, CancellationToken::new()) => {}
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

    /// A whole answer; blocks this thread.
    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test]
    async fn a_thread_that_is_not_given_back_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = crate::metrics::collect_metrics("test", &[]).unwrap();
        let _ended = serve_admin(listener, Arc::default(), metrics).unwrap();
        // The working runtime begins to be watched.
        tokio::task::yield_now().await;

        // From here on its only thread is kept from it.
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let silence = || {
            let answer = ask(address, "/metrics");
            let mut lines = answer.lines();
            lines
                .find_map(|line| line.strip_prefix("fleet_runtime_task_silence_seconds ")?.parse().ok())
                .unwrap()
        };
        while Duration::from_secs_f64(silence()) < BEAT * 3 / 2 {
            assert!(Instant::now() < deadline, "nobody notices");
        }
    }
}

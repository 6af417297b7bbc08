//! Serving HTTP/1.1 with bounds on connections and time, and a graceful end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Most open connections; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Most time for a request's head, and for which an answer may stay unfetched; the connection is closed then.
    pub header_timeout: Duration,
    /// Most time for the requests at work once the shutdown has begun.
    pub shutdown_timeout: Duration,
    /// For how much of it idle connections stay open, half of it at most. Closing one at once may meet a request that is
    /// on its way, and a balancer does not repeat a POST; a request within this time is answered, with `Connection: close`.
    pub idle_drain: Duration,
}

/// Most bytes of a request's head, and of what hyper buffers a connection.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves `router` until `shutdown`, then finishes the requests at work and those that idle connections still bring.
/// Returns whether all of them ended in time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> bool {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEAD_BYTES);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let tasks = TaskTracker::new();
    loop {
        let (stream, permit) = tokio::select! {
            accepted = accept(&listener, &connections, limits.header_timeout) => accepted,
            () = shutdown.cancelled() => break,
        };
        let service = announcing_close(router.clone(), shutdown.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tasks.spawn(async move {
            // Who cut it, the peer or the header timeout, is of no interest to anybody here.
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    // Refuse new connections at once, so that the balancer goes elsewhere.
    drop(listener);
    tasks.close();
    let idle_drain = limits.idle_drain.min(limits.shutdown_timeout / 2);
    let ended = async {
        if tokio::time::timeout(idle_drain, tasks.wait()).await.is_err() {
            graceful.shutdown().await;
        }
    };
    tokio::time::timeout(limits.shutdown_timeout, ended).await.is_ok()
}

/// `router`, whose answers end their connections once `shutdown` has begun.
fn announcing_close(
    router: Router,
    shutdown: CancellationToken,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> {
    let service = TowerToHyperService::new(router);
    service_fn(move |request| {
        let answered = service.call(request);
        let shutdown = shutdown.clone();
        async move {
            let mut response = answered.await?;
            if shutdown.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    })
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    header_timeout: Duration,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Who fetches no answers does not send heads either, as far as hyper gets to see: the kernel has to cut it off.
    let unread_ms = u32::try_from(header_timeout.as_millis()).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                if let Err(error) = set_tcp_user_timeout(&stream, unread_ms) {
                    tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
                }
                return (stream, permit);
            }
            // Out of file descriptors, mostly: give running requests time to end.
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; raise the limit of open files if this goes on");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    use super::{ServeLimits, serve};

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(300);

    /// A server, and a connection on which it has answered a request.
    async fn kept_alive(idle_drain: Duration) -> (TcpStream, CancellationToken, JoinHandle<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let limits =
            ServeLimits { max_connections: 10, header_timeout: LONG, shutdown_timeout: LONG, idle_drain };
        let shutdown = CancellationToken::new();
        let router = Router::new().fallback(async || "answer");
        let serving = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        let mut answer = Vec::new();
        ask(&mut stream).await;
        while !answer.ends_with(b"answer") {
            stream.read_buf(&mut answer).await.unwrap();
        }
        assert!(!String::from_utf8(answer).unwrap().contains("connection: close"));
        (stream, shutdown, serving)
    }

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_connection_may_still_bring_a_request() {
        let (mut stream, shutdown, serving) = kept_alive(LONG).await;
        shutdown.cancel();
        ask(&mut stream).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(serving.await.unwrap(), "nothing is left to wait for");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_in_the_end() {
        let (mut stream, shutdown, serving) = kept_alive(Duration::from_millis(1)).await;
        shutdown.cancel();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(serving.await.unwrap());
    }
}

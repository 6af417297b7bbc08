//! Serving HTTP/1.1 with bounds on connections and time, and a graceful end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Most open connections; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Most time for a request's head, and for which an answer may stay unfetched; the connection is closed then.
    pub header_timeout: Duration,
    /// Most time for the requests at work once the shutdown has begun.
    pub shutdown_timeout: Duration,
}

/// Most bytes of a request's head, and of what hyper buffers a connection.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Serves `router` until `shutdown`, then finishes the requests at work. Returns whether all of them ended in time.
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
    loop {
        let (stream, permit) = tokio::select! {
            accepted = accept(&listener, &connections, limits.header_timeout) => accepted,
            () = shutdown.cancelled() => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // Who cut it, the peer or the header timeout, is of no interest to anybody here.
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    // Refuse new connections at once, so that the balancer goes elsewhere.
    drop(listener);
    tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown()).await.is_ok()
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

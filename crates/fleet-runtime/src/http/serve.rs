//! Serves one listener from its first connection to the end of its last one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::BoxError;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::Accepting;
use super::connection::run;
use super::connections::Connections;
use super::header_timer::HeaderTimer;
use super::limits::ServeLimits;
use super::peer::Peer;

/// Most bytes of a request's headers, and of what hyper buffers for a connection.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Serves requests with `app` until `shutdown`. Then finishes those in flight, and those that idle connections bring within
/// [`ServeLimits::idle_drain`]. Returns whether all of them ended in time.
pub async fn serve<App, Responding, B>(
    listener: TcpListener,
    app: App,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> bool
where
    App: Fn(Request<Incoming>, Peer) -> Responding + Clone + Send + 'static,
    Responding: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEADER_BYTES);
    // Responses are small: one buffer is cheaper than two. A client that closes its half of the connection still gets its
    // response, so hyper need not check for that while a request is in flight.
    builder.writev(false).half_close(true).keep_alive(limits.keep_alive);
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = Connections::new(&limits);
    let mut accepting = Accepting::new(listener, limits);
    let closing = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            stream = accepting.next(&mut connections) => stream,
            () = shutdown.cancelled() => break,
        };
        let permit = tokio::select! {
            permit = connections.room(&permits) => permit,
            () = shutdown.cancelled() => break,
        };
        let watch = connections.add();
        let service = announcing_close(app.clone(), Arc::clone(&closing), Peer(Arc::clone(&watch)));
        builder.timer(HeaderTimer(Arc::clone(&watch)));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let spare_file = accepting.spare_file.clone();
        tasks.spawn(async move {
            // Usually the client has gone, or the header timeout has passed.
            if let Err(error) = run(connection, watch).await {
                tracing::trace!(%error, "a connection ended early");
            }
            // First, so that nothing else takes the file descriptor that has just become free.
            spare_file.renew();
            drop(permit);
        });
    }
    closing.store(true, Ordering::Relaxed);
    // Refuse new connections at once, so that the load balancer chooses another replica.
    drop(accepting);
    tasks.close();
    tokio::time::timeout(limits.shutdown_timeout, drain(&tasks, &mut connections, limits)).await.is_ok()
}

/// Waits until every connection has ended. Closes the idle ones after a while.
async fn drain(tasks: &TaskTracker, connections: &mut Connections, limits: ServeLimits) {
    let idle_drain = limits.idle_drain.min(limits.shutdown_timeout / 2);
    tokio::select! {
        () = tasks.wait() => return,
        () = tokio::time::sleep(idle_drain) => {}
        () = connections.sweep() => {}
    }
    connections.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = connections.sweep() => {}
    }
}

/// Wraps `app` so that a response ends its connection once the server is `closing`. A refusal of an unauthenticated client
/// ends its connection, too: the client could go on sending requests without reading any response, and the responses would
/// fill the kernel's memory.
fn announcing_close<B: Body, Responding: Future<Output = Response<B>> + Send>(
    app: impl Fn(Request<Incoming>, Peer) -> Responding,
    closing: Arc<AtomicBool>,
    peer: Peer,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> {
    service_fn(move |request| {
        let responding = app(request, peer.clone());
        let (closing, peer) = (Arc::clone(&closing), peer.clone());
        async move {
            let mut response = responding.await;
            let is_refused = !response.status().is_success() && !peer.is_kept();
            if is_refused || closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use axum::body::Body;
    use axum::http::Response;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    use super::{ServeLimits, serve};

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(300);

    /// By when what is sure to happen has happened.
    const SOON: Duration = Duration::from_secs(20);

    /// Longer than the header timeout of the tests that wait for it.
    const SLOW: Duration = Duration::from_millis(60);

    /// A server, and a connection which has brought a request.
    async fn kept_alive(idle_drain: Duration) -> (TcpStream, CancellationToken, JoinHandle<bool>) {
        kept_alive_for(LONG, idle_drain).await
    }

    async fn kept_alive_for(
        header_timeout: Duration,
        idle_drain: Duration,
    ) -> (TcpStream, CancellationToken, JoinHandle<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let limits = ServeLimits {
            listener: "test",
            max_connections: 10,
            grace: Duration::ZERO,
            keep_alive: true,
            has_spare_file: false,
            header_timeout,
            shutdown_timeout: LONG,
            idle_drain,
        };
        let shutdown = CancellationToken::new();
        let app = async |_request, _peer| {
            tokio::time::sleep(SLOW).await;
            Response::new(Body::from("response"))
        };
        let serving = tokio::spawn(serve(listener, app, limits, shutdown.clone()));
        ask(&mut stream).await;
        read_response(&mut stream).await;
        (stream, shutdown, serving)
    }

    async fn read_response(stream: &mut TcpStream) {
        let mut response = Vec::new();
        while !response.ends_with(b"response") {
            assert!(stream.read_buf(&mut response).await.unwrap() > 0, "closed");
        }
        assert!(!String::from_utf8(response).unwrap().contains("connection: close"));
    }

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_connection_may_still_bring_a_request() {
        let (mut stream, shutdown, serving) = kept_alive(LONG).await;
        shutdown.cancel();
        ask(&mut stream).await;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
        assert!(serving.await.unwrap(), "nothing is left to wait for");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_in_the_end() {
        let (mut stream, shutdown, serving) = kept_alive(Duration::from_millis(1)).await;
        shutdown.cancel();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(serving.await.unwrap());
    }

    #[tokio::test]
    async fn a_connection_without_complete_headers_is_closed_after_the_header_timeout() {
        let header_timeout = SLOW / 2;
        for beginning in ["", "GET / HTTP/1.1\r\nHo"] {
            let (mut stream, _shutdown, _serving) = kept_alive_for(header_timeout, LONG).await;
            let responded = Instant::now();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let closed = tokio::time::timeout(SOON, stream.read(&mut [0; 1])).await;
            assert_eq!(closed.expect("it is closed").unwrap(), 0, "{beginning}");
            // The server may have begun to wait a little before the response arrived.
            assert!(responded.elapsed() > header_timeout / 2, "{beginning}: {:?}", responded.elapsed());
        }
    }

    #[tokio::test]
    async fn neither_a_slow_response_nor_many_requests_meet_the_header_timeout() {
        let (mut stream, _shutdown, _serving) = kept_alive_for(SLOW / 2, LONG).await;
        for _request in 0..5 {
            ask(&mut stream).await;
            read_response(&mut stream).await;
        }
    }
}

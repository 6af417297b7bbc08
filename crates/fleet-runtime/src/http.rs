//! Serving HTTP/1.1 with bounds on connections and time, and a graceful end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connections::{Connections, HeadTimer};
pub use self::peer::{Cause, Exposed, Kept, Peer};
use self::spare_file::SpareFile;
use crate::outage::{Failing, OutageLog, Over};

mod connections;
mod peer;
mod spare_file;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// What metrics and log lines call it.
    pub listener: &'static str,
    /// Most open connections. A new one beyond that takes the place of one without an authenticated request; if there is
    /// none, it waits.
    pub max_connections: usize,
    /// For how long a new connection is not closed to make room.
    pub grace: Duration,
    /// Whether a connection may bring more than one request.
    pub keep_alive: bool,
    /// Whether to keep a file descriptor back for a new connection when the process has no other.
    pub has_spare_file: bool,
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

/// What the kernel keeps of a connection for this process and has not been read, bytes; it takes twice as much memory. By
/// itself it would grow to megabytes.
const RECEIVE_BUFFER_BYTES: u32 = 32 * 1024;

/// What the kernel keeps of answers that the client has not taken, bytes; likewise.
const SEND_BUFFER_BYTES: u32 = 8 * 1024;

/// Until the next try, if a connection cannot be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What one connection takes at most, bytes: hyper's two buffers (16 KiB of a head, 8 KiB of an answer), its task, and the
/// kernel's two.
pub const CONNECTION_BYTES: u64 = (32 << 10) + 2 * (RECEIVE_BUFFER_BYTES as u64 + SEND_BUFFER_BYTES as u64);

/// Listens on `address`; so many connections may wait in the kernel until they are accepted, or as many as
/// `net.core.somaxconn` says if that is less.
///
/// # Errors
///
/// If the address cannot be used.
pub fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A connection of the process before this one may still be closing.
    socket.set_reuseaddr(true)?;
    // Connections inherit both.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Answers requests with `app` until `shutdown`, then finishes those at work and those that idle connections still
/// bring. Returns whether all of them ended in time.
pub async fn serve<App, Answer, B>(
    listener: TcpListener,
    app: App,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> bool
where
    App: Fn(Request<Incoming>, Peer) -> Answer + Clone + Send + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(limits.header_timeout).max_buf_size(MAX_HEAD_BYTES);
    // Answers are small: one buffer is cheaper than two. And whether the peer is still there need not be asked while an
    // answer is made: a webhook that is here is taken.
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
        builder.timer(HeadTimer(Arc::clone(&watch)));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let spare_file = accepting.spare_file.clone();
        tasks.spawn(async move {
            // Who cut it, the peer or the header timeout, is of no interest to anybody here.
            if let Err(error) = connections::run(connection, watch).await {
                tracing::trace!(%error, "a connection ended early");
            }
            // Before anybody else takes the descriptor that has just become free.
            spare_file.renew();
            drop(permit);
        });
    }
    closing.store(true, Ordering::Relaxed);
    // Refuse new connections at once, so that the balancer goes elsewhere.
    drop(accepting);
    tasks.close();
    let idle_drain = limits.idle_drain.min(limits.shutdown_timeout / 2);
    let ended = async {
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
    };
    tokio::time::timeout(limits.shutdown_timeout, ended).await.is_ok()
}

/// `app`, whose answers end their connections once the server is `closing`. So does a refusal of an unknown sender: it might
/// go on asking without ever taking an answer, which then wait in the kernel.
fn announcing_close<B: Body, Answer: Future<Output = Response<B>> + Send>(
    app: impl Fn(Request<Incoming>, Peer) -> Answer,
    closing: Arc<AtomicBool>,
    peer: Peer,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> {
    service_fn(move |request| {
        let answer = app(request, peer.clone());
        let (closing, peer) = (Arc::clone(&closing), peer.clone());
        async move {
            let mut response = answer.await;
            let is_refused = !response.status().is_success() && !peer.is_kept();
            if is_refused || closing.load(Ordering::Relaxed) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    })
}

/// Takes new connections from the kernel.
struct Accepting {
    listener: TcpListener,
    spare_file: SpareFile,
    header_timeout: Duration,
    refusing: OutageLog,
}

impl Accepting {
    fn new(listener: TcpListener, limits: ServeLimits) -> Self {
        let ServeLimits { has_spare_file, header_timeout, .. } = limits;
        let spare_file = if has_spare_file { SpareFile::open() } else { SpareFile::default() };
        Self { listener, spare_file, header_timeout, refusing: OutageLog::default() }
    }

    /// The next connection; looks after the others meanwhile.
    async fn next(&mut self, connections: &mut Connections) -> TcpStream {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = connections.sweep() => continue,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    self.spare_file.renew();
                    if let Some(Over { failures, lasted }) = self.refusing.succeeded(Instant::now()) {
                        tracing::info!(failures, seconds = lasted.as_secs(), "accepting connections again");
                    }
                    prepare(&stream, self.header_timeout);
                    return stream;
                }
                Err(error) => self.recover(&error, connections).await,
            }
        }
    }

    /// If there are no file descriptors, those of connections that may be closed, and the spare one, are for new ones.
    async fn recover(&mut self, error: &io::Error, connections: &mut Connections) {
        if let Some(Failing { failures, lasted }) = self.refusing.failed(Instant::now(), 1) {
            let seconds = lasted.as_secs();
            tracing::warn!(
                failures,
                seconds,
                %error,
                "cannot accept connections; raise the limit of open files if this goes on"
            );
        }
        if is_exhausted(error) {
            if self.spare_file.give_up() {
                return;
            }
            connections.make_room(Cause::Files);
        }
        tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
    }
}

/// Whether the process or the system has nothing left to make a connection of.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

fn prepare(stream: &TcpStream, header_timeout: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    // Who fetches no answers does not send heads either, as far as hyper gets to see: the kernel has to cut it off.
    let unread_ms = u32::try_from(header_timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(stream, unread_ms) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use axum::body::Body;
    use axum::http::Response;
    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    use super::{CONNECTION_BYTES, ServeLimits, listen, serve};

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(300);

    /// By when what is sure to happen has happened.
    const SOON: Duration = Duration::from_secs(20);

    /// Longer than the header timeout of the tests that wait for it.
    const SLOW: Duration = Duration::from_millis(60);

    /// A server, and a connection on which it has answered a request.
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
            Response::new(Body::from("answer"))
        };
        let serving = tokio::spawn(serve(listener, app, limits, shutdown.clone()));
        ask(&mut stream).await;
        read_answer(&mut stream).await;
        (stream, shutdown, serving)
    }

    async fn read_answer(stream: &mut TcpStream) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"answer") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
        }
        assert!(!String::from_utf8(answer).unwrap().contains("connection: close"));
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

    #[tokio::test]
    async fn a_connection_without_a_whole_head_is_closed_after_the_header_timeout() {
        let header_timeout = SLOW / 2;
        for beginning in ["", "GET / HTTP/1.1\r\nHo"] {
            let (mut stream, _shutdown, _serving) = kept_alive_for(header_timeout, LONG).await;
            let answered = Instant::now();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let closed = tokio::time::timeout(SOON, stream.read(&mut [0; 1])).await;
            assert_eq!(closed.expect("it is closed").unwrap(), 0, "{beginning}");
            // The server may have begun to wait a little before the answer was here.
            assert!(answered.elapsed() > header_timeout / 2, "{beginning}: {:?}", answered.elapsed());
        }
    }

    #[tokio::test]
    async fn neither_a_slow_answer_nor_many_requests_meet_the_header_timeout() {
        let (mut stream, _shutdown, _serving) = kept_alive_for(SLOW / 2, LONG).await;
        for _request in 0..5 {
            ask(&mut stream).await;
            read_answer(&mut stream).await;
        }
    }

    /// The kernel grants a connection what [`CONNECTION_BYTES`] counts for it.
    #[tokio::test]
    async fn a_connection_has_the_kernels_buffers_that_are_counted() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _address) = listener.accept().await.unwrap();
        let buffers = [socket_recv_buffer_size(&stream).unwrap(), socket_send_buffer_size(&stream).unwrap()];
        assert_eq!(buffers, [64 * 1024, 16 * 1024]);
        assert_eq!(CONNECTION_BYTES, (32 + 64 + 16) * 1024);
    }
}

//! Runs one connection to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use axum::BoxError;
use axum::http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::Service;

use super::watch::Watch;

/// Runs a connection until it ends by itself, is closed to make room, is closed by the shutdown, or until a response has taken too
/// long.
pub(super) async fn run<Io, App, B>(
    connection: http1::Connection<Io, App>,
    watch: Arc<Watch>,
) -> hyper::Result<()>
where
    Io: Read + Write + Unpin,
    App: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let mut connection = pin!(connection);
    let mut closing = false;
    let mut has_been_read = false;
    poll_fn(|context| {
        watch.task.register(context.waker());
        if watch.standing.is_closed() || watch.is_overdue() {
            return Poll::Ready(Ok(()));
        }
        if !closing && watch.closing.load(Ordering::Acquire) {
            closing = true;
            connection.as_mut().graceful_shutdown();
        }
        let ended = connection.as_mut().poll(context);
        if !has_been_read {
            has_been_read = true;
            watch.standing.has_been_read(watch.clock.now());
        }
        ended
    })
    .await
}

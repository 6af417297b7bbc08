//! Lets requests in: each passes the gate of its route.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleet_runtime::http::{Kept, Peer};
use fleet_runtime::settings::Scope;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{Access, Caller};
use crate::metrics::{self, Route};
use crate::problem::{Kind, Problem};

/// The gate of a route.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) access: Arc<Access>,
    pub(crate) route: Route,
    /// Most time from a request to the end of its response.
    pub(crate) response_timeout: Duration,
    /// What the token must give access to. `None` if no token is needed.
    pub(crate) scope: Option<Scope>,
}

/// Lets a request in, and counts its response.
pub(crate) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    if let Some(peer) = request.extensions().get::<Peer>() {
        peer.limit_response((gate.route != Route::Stream).then_some(gate.response_timeout));
    }
    let response = match gate.admit(&request) {
        Ok(Some((caller, admitted))) => {
            request.extensions_mut().insert(caller);
            hold(next.run(request).await, admitted)
        }
        Ok(None) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    count(gate.route, &response, started);
    response
}

/// Counts a response.
pub(crate) fn count(route: Route, response: &Response, started: Instant) {
    if let Some(kind) = response.extensions().get::<Kind>() {
        metrics::problem(*kind);
    }
    metrics::answered(route, response.status().as_u16(), started.elapsed());
}

impl Gate {
    fn admit(&self, request: &Request) -> Result<Option<(Arc<Caller>, Admitted)>, Problem> {
        let Some(scope) = self.scope else { return Ok(None) };
        let caller = self.identify(request.headers(), scope)?;
        let kept = request.extensions().get::<Peer>().map_or(Ok(None), |peer| caller.keep(peer))?;
        let (permits, kind) = match self.route {
            Route::Stream => (&caller.streams, Kind::TooManyStreams),
            Route::Vehicles | Route::Vehicle | Route::Track | Route::Page | Route::Unknown => {
                (&caller.requests, Kind::TooManyRequests)
            }
        };
        let permit = Arc::clone(permits).try_acquire_owned().map_err(|_full| {
            Problem::new(
                kind,
                "the token is at its bound; retry after Retry-After seconds, or raise the bound",
            )
        })?;
        let stream = (self.route == Route::Stream).then(|| self.access.open_stream()).transpose()?;
        Ok(Some((Arc::clone(caller), Admitted { _permit: permit, _kept: kept, _stream: stream })))
    }

    fn identify(&self, headers: &HeaderMap, scope: Scope) -> Result<&Arc<Caller>, Problem> {
        if !self.access.knows_host(headers) {
            let detail = "without tokens only requests to a loopback address are answered: use http://127.0.0.1, or set a token";
            return Err(Problem::new(Kind::Unauthorized, detail));
        }
        let caller = self.access.identify(headers).ok_or_else(|| {
            Problem::new(Kind::Unauthorized, "send a valid token: Authorization: Bearer <token>")
        })?;
        if caller.scopes.contains(&scope) {
            return Ok(caller);
        }
        let detail = format!("the token lacks the scope {}", scope.name());
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

impl Access {
    fn open_stream(&self) -> Result<OpenStream, Problem> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_full| {
            let detail = "this replica has as many streams as it may have; retry after Retry-After seconds";
            Problem::new(Kind::Overloaded, detail)
        })?;
        Ok(OpenStream::begin(permit))
    }
}

impl Caller {
    /// Keeps the connection when others are closed to make room: for good, or for this request only if the caller has its share of
    /// such connections.
    fn keep(&self, peer: &Peer) -> Result<Option<Kept>, Problem> {
        if peer.is_kept() {
            return Ok(None);
        }
        let closed = || Problem::new(Kind::TooManyRequests, "the connection was closed to make room; retry");
        match Arc::clone(&self.kept).try_acquire_owned() {
            Ok(permit) => {
                if peer.note_authenticated(permit) {
                    Ok(None)
                } else {
                    Err(closed())
                }
            }
            Err(_enough) => peer.keep_for_request().map(Some).ok_or_else(closed),
        }
    }
}

/// What a request holds until its response has been sent.
#[derive(Debug)]
struct Admitted {
    _permit: OwnedSemaphorePermit,
    _kept: Option<Kept>,
    _stream: Option<OpenStream>,
}

/// Counts an open stream.
#[derive(Debug)]
struct OpenStream {
    _permit: OwnedSemaphorePermit,
}

static OPEN_STREAMS: AtomicUsize = AtomicUsize::new(0);

impl OpenStream {
    fn begin(permit: OwnedSemaphorePermit) -> Self {
        metrics::streams(OPEN_STREAMS.fetch_add(1, Ordering::Relaxed) + 1);
        Self { _permit: permit }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::streams(OPEN_STREAMS.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}

fn hold(response: Response, admitted: Admitted) -> Response {
    response.map(|body| Body::new(Held { body, _admitted: admitted }))
}

/// A body that holds what its request was admitted with.
struct Held {
    body: Body,
    _admitted: Admitted,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

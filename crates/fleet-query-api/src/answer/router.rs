//! Which path leads where.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use fleet_runtime::settings::Scope;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use super::asset::Asset;
use super::map::Map;
use super::{openapi, stream, track, vehicle, vehicles};
use crate::access::Access;
use crate::access::gate::{Gate, count, pass};
use crate::app::App;
use crate::metrics::Route;
use crate::problem::{Kind, Problem};

/// The whole service.
pub(crate) fn router(app: Arc<App>, access: &Arc<Access>, map: Map) -> Router {
    let response_timeout = app.bounds.response_timeout;
    let gated = |route: Route, scope: Option<Scope>, method: MethodRouter<Arc<App>>| {
        method.layer(from_fn_with_state(
            Gate { access: Arc::clone(access), route, response_timeout, scope },
            pass,
        ))
    };
    let (positions, tracks) = (Some(Scope::Positions), Some(Scope::Tracks));
    let document = openapi::document(access.needs_token(), app.bounds.max_page);
    let document = ("/openapi.json".to_owned(), Asset::new("application/json", document));
    let assets =
        map.into_files().into_iter().chain([document]).fold(Router::new(), |router, (path, asset)| {
            let asset = Arc::new(asset);
            let serve = get(async move |headers: HeaderMap| asset.respond(&headers));
            router.route(&path, gated(Route::Page, None, serve))
        });
    assets
        .route("/v1/vehicles", gated(Route::Vehicles, positions, get(vehicles::list)))
        .route("/v1/vehicles/stream", gated(Route::Stream, positions, get(stream::stream)))
        .route("/v1/vehicles/{vehicle_id}", gated(Route::Vehicle, positions, get(vehicle::by_id)))
        .route("/v1/vehicles/{vehicle_id}/track", gated(Route::Track, tracks, get(track::track)))
        .route(
            "/v1/providers/{provider}/vehicles/{provider_vehicle_id}",
            gated(Route::Vehicle, positions, get(vehicle::by_name)),
        )
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(common_headers))
        // Streams are not compressed.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(app)
}

async fn unknown() -> Response {
    counted(Problem::new(Kind::NotFound, "there is nothing at this path; /openapi.json lists all paths"))
}

async fn wrong_method() -> Response {
    counted(Problem::new(Kind::MethodNotAllowed, "this service only reads: use GET"))
}

fn counted(problem: Problem) -> Response {
    let response = problem.into_response();
    count(Route::Unknown, &response, Instant::now());
    response
}

/// Headers that every response has.
async fn common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // Positions change all the time, and belong to nobody but the bearer of the token.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding, authorization"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

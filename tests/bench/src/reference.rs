//! The references for the API and the consumer: the minimum that does the same, on the same axum, runtime and
//! allocator.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::redis_side::patient;

/// The route of every provider's webhook.
const ROUTE: &str = "/webhooks/{*path}";

/// Reads the body and responds with 200.
pub(crate) async fn bare(port: u16) -> Result<(), Failure> {
    serve(port, Router::new().route(ROUTE, post(async |_body: Bytes| StatusCode::OK))).await
}

/// Sends one LPUSH for each request over a multiplexed connection, then responds with 200.
pub(crate) async fn lpush(port: u16, redis_url: &str) -> Result<(), Failure> {
    let connection =
        redis::Client::open(redis_url)?.get_multiplexed_async_connection_with_config(&patient()).await?;
    let push = async |State(mut connection): State<MultiplexedConnection>, body: Bytes| {
        let mut command = redis::cmd("LPUSH");
        let pushed = command.arg("reference").arg(&body[..]).query_async::<u64>(&mut connection).await;
        if pushed.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    serve(port, Router::new().route(ROUTE, post(push)).with_state(connection)).await
}

/// Serves as the product does.
pub(crate) async fn serve(port: u16, router: Router) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(Failure::io(format!("listen on {address}")))?;
    let listener = listener.tap_io(|stream| {
        // As in the product. Without it a reference could only be slower.
        let _kept_nagle = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await.map_err(Failure::io(format!("serve on {address}")))
}

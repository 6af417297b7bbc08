//! Opening connections, and deciding which idle ones may be used again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;
use crate::session::Session;

/// Opens the connections of one pool.
pub(crate) struct Connector {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    /// The longest `statement_timeout` that a session may have.
    pub(crate) longest_statement: Duration,
}

impl Manager for Connector {
    type Type = ClientWrapper;
    type Error = StoreError;

    async fn create(&self) -> Result<ClientWrapper, StoreError> {
        // Boxed, because otherwise the future of every statement would reserve space for a whole handshake.
        let (client, session) = Box::pin(connect(&self.config, &self.tls)).await?;
        session.check(self.longest_statement)?;
        Ok(client)
    }

    async fn recycle(&self, client: &mut ClientWrapper, _: &Metrics) -> RecycleResult<StoreError> {
        // A server or a load balancer may close an idle connection at any time. The pool then opens another one.
        if client.is_closed() { Err(RecycleError::message("closed while it was idle")) } else { Ok(()) }
    }
}

/// Opens a connection and reads the settings of its session.
///
/// # Errors
///
/// [`StoreError`], of class `Unavailable` or `Session`.
pub(crate) async fn connect(
    config: &Config,
    tls: &MakeRustlsConnect,
) -> Result<(ClientWrapper, Session), StoreError> {
    let negotiating = Arc::new(AtomicBool::new(false));
    let watched = Watched { tls: tls.clone(), negotiating: Arc::clone(&negotiating) };
    let (client, connection) = config.connect(watched).await.map_err(|error| {
        // Without `require`, a server without TLS is accepted.
        let asked = config.get_ssl_mode() == SslMode::Require && negotiating.load(Ordering::Relaxed);
        if is_handshake(&error, asked) { StoreError::Handshake(error) } else { StoreError::Connect(error) }
    })?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // The caller that waits for a response gets the error as well.
            tracing::debug!(%error, "a database connection ended");
        }
    });
    let client = ClientWrapper::new(client, task);
    let session = Session::read(&client).await.map_err(StoreError::Connect)?;
    Ok((client, session.ok_or(StoreError::NoRow)?))
}

/// Whether TLS is the reason for a failed connection. `asked`: the client asked for TLS, and no handshake began.
fn is_handshake(error: &tokio_postgres::Error, asked: bool) -> bool {
    let Some(cause) = std::error::Error::source(error) else { return false };
    // If the server responds that it has no TLS, the error has a cause that is neither an I/O error nor an error of
    // PostgreSQL.
    cause.is::<HandshakeError>() || (asked && !cause.is::<io::Error>() && error.code().is_none())
}

/// Why a TLS handshake failed. A type of its own, so that `is_handshake` can recognise it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct HandshakeError(#[from] io::Error);

/// A TLS connector that records whether a handshake was asked for and has begun.
#[derive(Clone)]
struct Watched {
    tls: MakeRustlsConnect,
    negotiating: Arc<AtomicBool>,
}

/// The same, for one connection.
struct WatchedConnect {
    tls: <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect,
    negotiating: Arc<AtomicBool>,
}

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl MakeTlsConnect<Socket> for Watched {
    type Stream = Stream;
    type TlsConnect = WatchedConnect;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<WatchedConnect, Self::Error> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host)?;
        self.negotiating.store(true, Ordering::Relaxed);
        Ok(WatchedConnect { tls, negotiating: Arc::clone(&self.negotiating) })
    }
}

impl TlsConnect<Socket> for WatchedConnect {
    type Stream = Stream;
    type Error = HandshakeError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Stream, HandshakeError>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        self.negotiating.store(false, Ordering::Relaxed);
        Box::pin(async move { Ok(self.tls.connect(stream).await?) })
    }
}

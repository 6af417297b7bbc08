//! Opening a connection, and what its server says besides responses.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::DbError;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;
use crate::session::Session;

/// The function of PostgreSQL that waits for the synchronous standbys.
const WAIT_FOR_STANDBYS: &str = "SyncRepWaitForLSN";

/// A connection to one host.
pub(crate) struct Connection {
    pub(crate) client: ClientWrapper,
    /// Index of the host in the URL.
    pub(crate) host: usize,
    /// The server has committed without its standbys since this was last read.
    unreplicated: Arc<AtomicBool>,
}

impl Connection {
    /// Whether the server gave up waiting for its synchronous standbys since the last call. It then reports success for
    /// a commit that only it has.
    pub(crate) fn take_unreplicated(&self) -> bool {
        self.unreplicated.swap(false, Ordering::Relaxed)
    }
}

/// Connects to the only host of `config`, and reads the settings of the session.
///
/// # Errors
///
/// [`StoreError`], of class `Unavailable` or `Session`.
pub(crate) async fn open(
    config: &Config,
    tls: &MakeRustlsConnect,
) -> Result<(Connection, Session), StoreError> {
    let negotiating = Arc::new(AtomicBool::new(false));
    let watched = Watched { tls: tls.clone(), negotiating: Arc::clone(&negotiating) };
    let (client, mut driver) = config.connect(watched).await.map_err(|error| {
        // Without `require`, a server without TLS is accepted.
        let asked = config.get_ssl_mode() == SslMode::Require && negotiating.load(Ordering::Relaxed);
        if is_handshake(&error, asked) { StoreError::Handshake(error) } else { StoreError::Connect(error) }
    })?;
    let unreplicated = Arc::new(AtomicBool::new(false));
    let noticed = Arc::clone(&unreplicated);
    let task = tokio::spawn(async move {
        loop {
            match poll_fn(|context| driver.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    // The notice comes before the end of the response, so the caller sees the mark.
                    noticed.fetch_or(is_about_standbys(&notice), Ordering::Relaxed);
                }
                Some(Ok(_notification)) => {}
                Some(Err(error)) => {
                    // The caller that waits for a response gets the error as well.
                    tracing::debug!(%error, "a database connection ended");
                    return;
                }
                None => return,
            }
        }
    });
    let client = ClientWrapper::new(client, task);
    let session = Session::read(&client).await.map_err(StoreError::Connect)?;
    Ok((Connection { client, host: 0, unreplicated }, session.ok_or(StoreError::NoRow)?))
}

/// Whether a notice says that the server no longer waits for its standbys. Its SQLSTATE is that of every warning, and its
/// text depends on the language.
fn is_about_standbys(notice: &DbError) -> bool {
    notice.routine() == Some(WAIT_FOR_STANDBYS)
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

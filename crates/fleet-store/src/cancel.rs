//! Cancelling statements whose caller no longer waits.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Cancels the abandoned statements of one pool. Clones share its bounds.
///
/// PostgreSQL does not notice a closed connection while a statement runs or waits for a lock. Without a cancel
/// request, the backend would continue until `statement_timeout`. It would occupy one more connection than the pool
/// has, and its uncommitted rows would block the same batch when a consumer retries it.
#[derive(Clone)]
pub(crate) struct Canceller {
    tls: MakeRustlsConnect,
    timeout: Duration,
    requests: Arc<Semaphore>,
}

impl Canceller {
    /// Cancels at most `most` statements at a time, each for at most `timeout`. `tls` is the connector of the pool.
    pub(crate) fn new(tls: MakeRustlsConnect, most: usize, timeout: Duration) -> Self {
        Self { tls, timeout, requests: Arc::new(Semaphore::new(most)) }
    }

    /// Asks the server to cancel the statement of `client`, and closes the connection. Does not wait: a task sends
    /// the request. No request is sent if too many statements are being cancelled, or outside a runtime.
    ///
    /// The request cannot cancel another statement, because this connection never runs another one.
    pub(crate) fn abandon(&self, client: ClientWrapper) {
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
            tracing::debug!("an abandoned statement runs on: too many are being cancelled");
            return;
        };
        let Self { tls, timeout, .. } = self.clone();
        runtime.spawn(async move {
            match tokio::time::timeout(timeout, cancel(&client, tls)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an abandoned statement may run on"),
                Err(_elapsed) => {
                    tracing::debug!("an abandoned statement may run on: it has not ended in time");
                }
            }
            drop((client, permit));
        });
    }
}

/// Returns when the statement has ended. The connection stays open until then, because PgBouncer drops cancel
/// requests of clients that have disconnected.
async fn cancel(client: &ClientWrapper, tls: MakeRustlsConnect) -> Result<(), tokio_postgres::Error> {
    client.cancel_token().cancel_query(tls).await?;
    // This sends a Sync, to which the server responds after the statement. A late cancel request finds nothing to
    // cancel.
    client.check_connection().await
}

//! Statements that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Cancels the abandoned statements of one pool; clones share its bounds.
///
/// PostgreSQL does not notice that a client has gone while a statement runs or waits for a lock. Without a cancel request
/// the backend would go on until `statement_timeout`: it would count beside the pool's connections, and its uncommitted
/// rows would block the same batch when a consumer tries it again.
#[derive(Clone)]
pub(crate) struct Canceller {
    tls: MakeRustlsConnect,
    timeout: Duration,
    requests: Arc<Semaphore>,
}

impl Canceller {
    /// Handles at most `most` statements at a time, each for at most `timeout`. `tls` is the connector of the connections.
    pub(crate) fn new(tls: MakeRustlsConnect, most: usize, timeout: Duration) -> Self {
        Self { tls, timeout, requests: Arc::new(Semaphore::new(most)) }
    }

    /// Asks the server to cancel what `client` runs, and closes the connection. Never waits: the request is sent by a task,
    /// and not at all if too many statements are being cancelled or there is no runtime.
    ///
    /// The request cannot hit another statement, because this connection never gets one.
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

/// Returns when the statement has ended. The connection stays open until then: PgBouncer forgets requests of clients that
/// have gone.
async fn cancel(client: &ClientWrapper, tls: MakeRustlsConnect) -> Result<(), tokio_postgres::Error> {
    client.cancel_token().cancel_query(tls).await?;
    // A Sync, which the server answers after the statement. A cancel request that comes late finds nothing to cancel.
    client.check_connection().await
}

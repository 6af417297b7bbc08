//! One connection to Redis that replaces itself.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisResult};
use tokio::sync::Mutex;

use crate::QueueError;

/// A multiplexed connection, made on first use and replaced after the first timeout or I/O error.
///
/// The crate's own `ConnectionManager` can stay broken for ever after timeouts or a changed password; this one
/// forgets a connection as soon as it may be out of step, and the next call makes a new one.
pub struct RedisLink {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that of several callers that fail together only the first forgets it.
    generation: u64,
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        formatter.debug_struct("RedisLink").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Prepares a link to the server at `url`; connects on first use. `timeout` bounds connecting and, apart from
    /// that, every reply.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] if the URL is not one of a Redis server.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, QueueError> {
        let keepalive = redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = url.into_connection_info().map_err(|error| QueueError::Url(error.to_string()))?;
        let client =
            Client::open(info.set_tcp_settings(tcp)).map_err(|error| QueueError::Url(error.to_string()))?;
        Ok(Self { client, timeout, current: Mutex::default() })
    }

    /// Runs one operation on the connection.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; after a timeout or a broken connection the operation may still have been carried out.
    pub async fn run<T>(
        &self,
        operation: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, QueueError> {
        let (mut connection, generation) = self.connect().await?;
        let result = match tokio::time::timeout(self.timeout, operation(&mut connection)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => QueueError::from(error),
            Err(_elapsed) => QueueError::Timeout(self.timeout),
        };
        if result.breaks_connection() {
            let mut current = self.current.lock().await;
            if current.generation == generation {
                current.connection = None;
            }
        }
        Err(result)
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.run(async |connection| redis::cmd("PING").query_async(connection).await).await
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, u64), QueueError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        // `run` bounds replies, so that its timeout is the one that decides.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_elapsed| QueueError::Timeout(self.timeout))??;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }
}

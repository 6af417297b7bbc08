//! One connection to Redis that replaces itself.

use std::path::Path;
use std::time::Duration;

use fleet_tls::TrustAnchors;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates,
};
use tokio::sync::Mutex;

use crate::QueueError;

/// Why `rediss://…#insecure` is refused.
const INSECURE: &str = "#insecure would take any certificate, and so any server; leave it out and set FLEET_TLS__CA_FILE \
                        to the file of the CA that signed the server's certificate";

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
    /// As [`RedisLink::trusting`] the system's CAs.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] if the URL is not one of a Redis server.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, QueueError> {
        Self::trusting(None, url, timeout)
    }

    /// Prepares a link to the server at `url`; connects on first use. `timeout` bounds connecting and, apart from
    /// that, every reply. With `rediss://` the connection is encrypted, and the server's certificate must be for the
    /// URL's host and signed by a CA in the PEM file `ca_file`, or by one of the system's if there is no file.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] if the URL is not one of a Redis server, or asks not to check the certificate;
    /// [`QueueError::Trust`] if the file cannot be used.
    pub fn trusting(ca_file: Option<&Path>, url: &str, timeout: Duration) -> Result<Self, QueueError> {
        let keepalive = redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = url.into_connection_info().map_err(|error| QueueError::Url(error.to_string()))?;
        let info = info.set_tcp_settings(tcp);
        let insecure =
            if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() { Some(*insecure) } else { None };
        let client = match insecure {
            Some(true) => return Err(QueueError::Url(INSECURE.to_owned())),
            Some(false) => {
                fleet_tls::use_ring();
                let root_cert = TrustAnchors::read(ca_file)?.pem().map(<[u8]>::to_vec);
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            None => Client::open(info),
        };
        let client = client.map_err(|error| QueueError::Url(error.to_string()))?;
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
        // Waiting for another caller's attempt counts too.
        let connecting = tokio::time::timeout(self.timeout, self.connect());
        let (mut connection, generation) =
            connecting.await.map_err(|_elapsed| QueueError::Timeout(self.timeout))??;
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
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }
}

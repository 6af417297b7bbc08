//! Opens connections to servers of Redis.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_tls::TrustAnchors;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, TlsCertificates,
};

use crate::error::QueueError;

/// The address of a server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server(ConnectionAddr);

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl Server {
    /// The host; empty for a Unix socket.
    pub(crate) fn host(&self) -> &str {
        if let ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } = &self.0 {
            host
        } else {
            ""
        }
    }
}

/// Opens connections with one login, with or without TLS.
#[derive(Clone)]
pub(crate) struct Dialer {
    /// Its address is an example: it says whether to use TLS, and which CAs are trusted.
    template: ConnectionInfo,
}

impl Dialer {
    /// Connections with the login, the scheme and the database of `info`.
    ///
    /// # Errors
    ///
    /// [`QueueError::Trust`] if the file of the CAs cannot be used.
    pub(crate) fn new(info: ConnectionInfo, ca_file: Option<&Path>) -> Result<Self, QueueError> {
        let keepalive = redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        // The users we ship may not send CLIENT SETINFO: Redis 7.0 refuses an ACL file that names it.
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(login);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(Self { template: info });
        }
        fleet_tls::use_ring();
        let root_cert = TrustAnchors::read(ca_file)?.pem().map(<[u8]>::to_vec);
        let client = Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert });
        let client = client.map_err(|error| QueueError::Url(error.to_string()))?;
        Ok(Self { template: client.get_connection_info().clone() })
    }

    /// The same with another login.
    pub(crate) fn with_login(&self, login: RedisConnectionInfo) -> Self {
        Self { template: self.template.clone().set_redis_settings(login) }
    }

    /// A server at this host and port.
    pub(crate) fn server(&self, host: &str, port: u16) -> Server {
        if let ConnectionAddr::TcpTls { insecure, tls_params, .. } = self.template.addr() {
            let (host, insecure, tls_params) = (host.to_owned(), *insecure, tls_params.clone());
            return Server(ConnectionAddr::TcpTls { host, port, insecure, tls_params });
        }
        Server(ConnectionAddr::Tcp(host.to_owned(), port))
    }

    /// The server at an address of the URL.
    pub(crate) fn server_at(&self, address: &ConnectionAddr) -> Server {
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = address {
            return self.server(host, *port);
        }
        Server(address.clone())
    }

    /// Connects and logs in. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub(crate) async fn dial(&self, server: &Server) -> Result<MultiplexedConnection, QueueError> {
        let client = Client::open(self.template.clone().set_addr(server.0.clone()));
        let client = client.map_err(|error| QueueError::Url(error.to_string()))?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

/// A connection that is kept for the next question to the same server.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) server: Server,
    dialer: Dialer,
    open: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl Session {
    pub(crate) fn new(server: Server, dialer: Dialer) -> Self {
        Self { server, dialer, open: Arc::default() }
    }

    /// Runs `question` on the kept connection, or on a new one. Keeps the connection if it succeeds. A question that is given
    /// up closes it.
    ///
    /// # Errors
    ///
    /// That of the question, or of the new connection.
    pub(crate) async fn ask<T, Asking: Future<Output = Result<T, QueueError>>>(
        &self,
        question: impl Fn(MultiplexedConnection) -> Asking,
    ) -> Result<T, QueueError> {
        // The lock must not last until the answer.
        let kept = self.kept().take();
        if let Some(kept) = kept
            && let Ok(answer) = question(kept.clone()).await
        {
            *self.kept() = Some(kept);
            return Ok(answer);
        }
        let connection = self.dialer.dial(&self.server).await?;
        let answer = question(connection.clone()).await?;
        *self.kept() = Some(connection);
        Ok(answer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

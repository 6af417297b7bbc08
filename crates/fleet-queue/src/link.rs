//! One connection to Redis that replaces itself.

use std::time::Duration;

use fleet_tls::TrustAnchors;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisResult, ScriptInvocation, ServerErrorKind, TlsCertificates, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::QueueError;
use crate::greeting::Greeting;
use crate::options::RedisLinkOptions;
use crate::transaction::Transaction;

/// Why `rediss://…#insecure` is refused.
const INSECURE: &str = "#insecure would accept any certificate and therefore any server; remove it and set FLEET_TLS__CA_FILE \
                        to the file of the CA that signed the server's certificate";

/// Most retries of a call on a new connection.
const MAX_RETRIES: usize = 2;

/// A multiplexed connection. It is opened on first use, and replaced after a timeout, an I/O error, or a reply that says that
/// the server has become a replica, is loading, or requires another login.
///
/// The `ConnectionManager` of the crate `redis` can stay broken forever after timeouts or a changed password.
pub struct RedisLink {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
}

/// One connection of a link.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: MultiplexedConnection,
    /// The number of this connection; the first one has 1.
    pub(crate) generation: u64,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections. Of several callers that fail together, only the first one drops the connection.
    generation: u64,
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        formatter.debug_struct("RedisLink").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Prepares a link; connects on first use.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] if the URL is not one of a Redis server, or asks not to check the certificate;
    /// [`QueueError::Trust`] if the file of the CAs cannot be used.
    pub fn open(options: &RedisLinkOptions) -> Result<Self, QueueError> {
        let keepalive = redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(30));
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info =
            options.url().into_connection_info().map_err(|error| QueueError::Url(error.to_string()))?;
        // The users we ship may not send CLIENT SETINFO: Redis 7.0 refuses an ACL file that names it.
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(login);
        let insecure =
            if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() { Some(*insecure) } else { None };
        let client = match insecure {
            Some(true) => return Err(QueueError::Url(INSECURE.to_owned())),
            Some(false) => {
                fleet_tls::use_ring();
                let root_cert = TrustAnchors::read(options.ca_file())?.pem().map(<[u8]>::to_vec);
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            None => Client::open(info),
        };
        let client = client.map_err(|error| QueueError::Url(error.to_string()))?;
        Ok(Self { client, timeout: options.timeout(), current: Mutex::default() })
    }

    /// A link to another server, with this one's login, TLS and timeout.
    ///
    /// # Errors
    ///
    /// [`QueueError::Url`] if this is no address.
    pub(crate) fn to_other_server(&self, host: &str, port: u16) -> Result<Self, QueueError> {
        let info = self.client.get_connection_info().clone();
        let host = host.to_owned();
        let address = if let ConnectionAddr::TcpTls { insecure, tls_params, .. } = info.addr() {
            let (insecure, tls_params) = (*insecure, tls_params.clone());
            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let client =
            Client::open(info.set_addr(address)).map_err(|error| QueueError::Url(error.to_string()))?;
        Ok(Self { client, timeout: self.timeout, current: Mutex::default() })
    }

    /// Runs one operation, and retries it on a new connection at most twice. It retries if the existing connection turns out
    /// to be useless, because Redis or a load balancer closed it while it was idle or because the server is no longer the
    /// primary, and if a new connection breaks. The link's timeout bounds all attempts together.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection, Redis may have run the operation, and after retries more
    /// than once.
    pub(crate) async fn run<T, Running: Future<Output = RedisResult<T>>>(
        &self,
        operation: impl Fn(MultiplexedConnection) -> Running,
    ) -> Result<T, QueueError> {
        self.run_on_line(|line| operation(line.connection)).await
    }

    /// As [`RedisLink::run`], for an operation that needs to know its connection.
    pub(crate) async fn run_on_line<T, Running: Future<Output = RedisResult<T>>>(
        &self,
        operation: impl Fn(Line) -> Running,
    ) -> Result<T, QueueError> {
        let deadline = Instant::now() + self.timeout;
        let mut retries = 0..MAX_RETRIES;
        loop {
            match self.attempt(deadline, &operation).await {
                Err(failed) if failed.is_worth_a_retry() && retries.next().is_some() => {}
                result => return result.map_err(|failed| failed.error),
            }
        }
    }

    /// Sends one command. Retries it on a new connection at most twice if the existing connection turns out to be useless, or
    /// if a new one breaks.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]. After a timeout or a broken connection, Redis may have run the command, and after retries more than
    /// once.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        self.run(|mut connection| async move { command.query_async(&mut connection).await }).await
    }

    /// As [`RedisLink::command`], for a script.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        self.run(|mut connection| async move { call.invoke_async(&mut connection).await }).await
    }

    /// As [`RedisLink::script`]. `None` if the user lacks the permission for one of these `commands` on `key`. The script runs
    /// them, and not every user may. They are sent one by one first, because the code of an error inside a script does not
    /// say that a permission is missing.
    pub(crate) async fn script_if_allowed<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        commands: &[&str],
        key: &str,
    ) -> Result<Option<T>, QueueError> {
        self.run(|mut connection| async move {
            for name in commands {
                match redis::cmd(name).arg(key).query_async::<Value>(&mut connection).await {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                        return Ok(None);
                    }
                    // The script reports any other error.
                    Ok(_) | Err(_) => {}
                }
            }
            call.invoke_async(&mut connection).await.map(Some)
        })
        .await
    }

    /// The type of a key, as Redis' TYPE names it; `None` if the user may not ask.
    pub(crate) async fn type_of(&self, key: &str) -> Result<Option<String>, QueueError> {
        let command = &redis::cmd("TYPE").arg(key).take();
        self.run(|mut connection| async move {
            match command.query_async(&mut connection).await {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Runs a script without retries, because it must not run twice.
    pub(crate) async fn script_once<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, QueueError> {
        let run = |mut line: Line| async move { call.invoke_async(&mut line.connection).await };
        self.attempt(Instant::now() + self.timeout, &run).await.map_err(|failed| failed.error)
    }

    /// As [`RedisLink::command`], for a transaction.
    pub(crate) async fn transaction<T: FromRedisValue>(
        &self,
        transaction: &Transaction,
    ) -> Result<T, QueueError> {
        self.run(|mut connection| async move { transaction.query(&mut connection).await }).await
    }

    async fn attempt<T, Running: Future<Output = RedisResult<T>>>(
        &self,
        deadline: Instant,
        operation: &impl Fn(Line) -> Running,
    ) -> Result<T, Failed> {
        let too_late = |_elapsed| QueueError::Timeout(self.timeout);
        // The deadline includes the time that another caller's connection attempt takes.
        let connecting = tokio::time::timeout_at(deadline, self.connect()).await.map_err(too_late);
        let Connected { line, was_open } =
            connecting.flatten().map_err(|error| Failed { error, on: None })?;
        let generation = line.generation;
        let result = tokio::time::timeout_at(deadline, operation(line)).await.map_err(too_late);
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => QueueError::from(error),
            Err(timeout) => timeout,
        };
        if error.breaks_connection() {
            self.leave(generation).await;
        }
        let on = Some(if was_open { Connection::Old } else { Connection::New });
        Err(Failed { error, on })
    }

    /// Drops a connection, unless the link has replaced it already. The next call opens a new one.
    pub(crate) async fn leave(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }

    /// Most time for one call.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Checks that Redis replies.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.command(&redis::cmd("PING")).await
    }

    async fn connect(&self) -> Result<Connected, QueueError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            let line = Line { connection: connection.clone(), generation: current.generation };
            return Ok(Connected { line, was_open: true });
        }
        // `attempt` has the only timeout.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        if Greeting::ask(&mut connection).await?.is_some_and(|greeting| greeting.is_cluster()) {
            return Err(QueueError::Cluster);
        }
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok(Connected { line: Line { connection, generation: current.generation }, was_open: false })
    }
}

/// A connection to run one operation on.
struct Connected {
    line: Line,
    /// It existed before this call.
    was_open: bool,
}

/// Why one attempt failed, and on which connection. `None`: no connection could be opened.
struct Failed {
    error: QueueError,
    on: Option<Connection>,
}

/// The connection that an attempt used.
enum Connection {
    /// One that existed before.
    Old,
    /// One that was opened for it.
    New,
}

impl Failed {
    /// Whether a new connection may help at once. A server that refuses a new connection, for example because of a wrong
    /// password, refuses the next one too. A new connection that breaks may have met a second, short fault.
    fn is_worth_a_retry(&self) -> bool {
        match self.on {
            None => false,
            Some(Connection::Old) => self.error.is_cured_by_new_connection(),
            Some(Connection::New) => matches!(self.error, QueueError::Connection(_)),
        }
    }
}

//! One connection to Redis that replaces itself.

mod lines;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ScriptInvocation, ServerErrorKind, Value};
use tokio::time::Instant;

pub(crate) use self::lines::Line;
use self::lines::{Connected, Lines};
use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::locate::Locator;
use crate::options::RedisLinkOptions;
use crate::report::{Departure, Reporter};
use crate::topology::Topology;
use crate::transaction::Transaction;

/// Most retries of a call on a new connection.
const MAX_RETRIES: usize = 2;

/// A multiplexed connection to the primary. It is opened on first use, and replaced after a timeout, an I/O error, or a reply
/// that says that the server has become a replica, is loading, has moved the queue, or requires another login. It is also
/// replaced if another server has become the primary, which the link checks every two seconds.
///
/// The `ConnectionManager` of the crate `redis` can stay broken forever after timeouts or a changed password, its
/// `ClusterConnection` repeats pipelines that must not run twice, and its `SentinelClient` does not notice a failover.
pub struct RedisLink {
    lines: Arc<Lines>,
    timeout: Duration,
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
    /// [`QueueError::Url`] with all problems of the options, such as a URL that is not one of a Redis server;
    /// [`QueueError::Trust`] if the file of the CAs cannot be used.
    pub fn open(options: &RedisLinkOptions) -> Result<Self, QueueError> {
        let (locator, timeout) = (Locator::new(options)?, options.timeout());
        let queue = options.queue().map(|keys| QueueKeys::tag(keys).to_owned()).unwrap_or_default();
        let reporter = Reporter::new(options.listener(), queue, options.topology() == Topology::Cluster);
        Ok(Self { lines: Arc::new(Lines::new(locator, timeout, reporter)), timeout })
    }

    /// Connects to another server, with this link's login and TLS. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`].
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<MultiplexedConnection, QueueError> {
        self.lines.dial(host, port).await
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

    /// Runs a script without retries, because it must not run twice. Returns the connection, too.
    pub(crate) async fn script_once_on_line<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<(T, Line), QueueError> {
        self.run_once_on_line(|line: Line| async move {
            let value = call.invoke_async(&mut line.connection.clone()).await?;
            Ok((value, line))
        })
        .await
    }

    /// As [`RedisLink::run_on_line`], for an operation that must not run twice.
    pub(crate) async fn run_once_on_line<T, Running: Future<Output = RedisResult<T>>>(
        &self,
        operation: impl Fn(Line) -> Running,
    ) -> Result<T, QueueError> {
        self.attempt(Instant::now() + self.timeout, &operation).await.map_err(|failed| failed.error)
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
        // The deadline includes the time that another caller's attempt to locate the primary takes.
        let connecting = tokio::time::timeout_at(deadline, self.lines.connect()).await;
        let connecting = connecting.inspect_err(|_elapsed| self.lines.missed()).map_err(too_late);
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
            self.lines.leave(generation, error.departure()).await;
        }
        let on = Some(if was_open { Connection::Old } else { Connection::New });
        Err(Failed { error, on })
    }

    /// Drops a connection whose replicas do not confirm, unless the link has replaced it already. The next call locates the
    /// primary, and may find the same server.
    pub(crate) async fn leave(&self, generation: u64) {
        self.lines.leave(generation, Departure::Unconfirmed).await;
    }

    /// The address of the server that the link is connected to, without credentials. `None` before the first call, and after
    /// the link has left its server. Links of several queues may have the same server.
    pub async fn server(&self) -> Option<String> {
        self.lines.server().await
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

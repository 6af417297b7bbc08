//! Whether replicas have stored what a connection has written: WAIT and WAITAOF.
//!
//! Both commands refer to the last write of their own connection. Inside MULTI they reply at once, about earlier writes, so
//! they are always sent behind EXEC. WAIT comes first: without it, WAITAOF takes until the server's next tick, up to a second.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};

use crate::confirmation::Confirmation;
use crate::error::QueueError;
use crate::keys::QueueKeys;
use crate::link::{Line, RedisLink};

/// A push that too few replicas have confirmed. It keeps its connection, because WAIT and WAITAOF refer to the writes of the
/// connection on which they are sent.
pub struct Unconfirmed {
    pub(crate) line: Line,
}

impl fmt::Debug for Unconfirmed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Unconfirmed").field("generation", &self.line.generation).finish()
    }
}

/// Asks replicas for confirmations, on behalf of one producer.
#[derive(Debug)]
pub(crate) struct Confirmer {
    replicas: u32,
    /// Longest wait of each of the two commands. Together they leave a third of a call's timeout to the push.
    patience: Duration,
    /// The generation of the last connection on which replicas have confirmed a write; 0 for none.
    proven: AtomicU64,
}

impl Confirmer {
    /// Asks for this many replicas. `timeout` is that of the link.
    pub(crate) fn new(replicas: u32, timeout: Duration) -> Self {
        Self { replicas, patience: timeout / 3, proven: AtomicU64::new(0) }
    }

    /// For calls of `link`, if any replica is to confirm them.
    pub(crate) fn for_link(link: &RedisLink, replicas: u32) -> Option<Arc<Self>> {
        (replicas > 0).then(|| Arc::new(Self::new(replicas, link.timeout())))
    }

    /// WAIT, then WAITAOF.
    pub(crate) fn commands(&self) -> [Cmd; 2] {
        // 0 would wait without a limit.
        let patience_ms = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX).max(1);
        let (mut wait, mut waitaof) = (redis::cmd("WAIT"), redis::cmd("WAITAOF"));
        wait.arg(self.replicas).arg(patience_ms);
        waitaof.arg(1).arg(self.replicas).arg(patience_ms);
        [wait, waitaof]
    }

    /// Parses the replies to [`Confirmer::commands`].
    ///
    /// # Errors
    ///
    /// The first error among the replies, for example if the user may not run one of the commands.
    pub(crate) fn parse(&self, replies: Vec<Value>) -> RedisResult<Confirmation> {
        let shape = (ErrorKind::UnexpectedReturnType, "the replies to WAIT and WAITAOF have another shape");
        let [wait, waitaof] = <[Value; 2]>::try_from(replies).map_err(|_replies| RedisError::from(shape))?;
        let received = redis::from_redis_value(wait.extract_error()?)?;
        let (on_primary, on_replicas) = redis::from_redis_value(waitaof.extract_error()?)?;
        Ok(Confirmation { wanted: self.replicas, received, on_primary, on_replicas })
    }

    /// Asks whether the last write of this connection is confirmed.
    pub(crate) async fn ask(&self, connection: &mut MultiplexedConnection) -> RedisResult<Confirmation> {
        self.parse(send(self.commands(), connection).await?)
    }

    /// Whether replicas have confirmed a write on this connection.
    pub(crate) fn is_proven(&self, line: &Line) -> bool {
        self.proven.load(Ordering::Relaxed) == line.generation
    }

    /// Asks for the confirmation of a write that changes nothing: 0 is added to a counter of the queue's ledger.
    ///
    /// On a connection without a write, WAIT and WAITAOF count every connected replica: also one that has no append-only
    /// file, and one that was cut off a moment ago.
    pub(crate) async fn prove(&self, line: &Line, keys: &QueueKeys) -> RedisResult<Confirmation> {
        let mut write = redis::cmd("HINCRBY");
        write.arg(&keys.ledger).arg("accepted_messages").arg(0);
        let [wait, waitaof] = self.commands();
        let mut replies = send([write, wait, waitaof], &mut line.connection.clone()).await?;
        if let Value::ServerError(refused) = replies.remove(0) {
            let refused = RedisError::from(refused);
            // Pushes work although another program has overwritten the ledger.
            let is_ledgers = refused.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
            if !is_ledgers && !QueueError::from(refused.clone()).is_broken_key() {
                return Err(refused);
            }
        }
        let found = self.parse(replies)?;
        if found.is_complete() {
            self.proven.store(line.generation, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// Requires that enough replicas confirm writes on the link's connection, as [`Confirmer::prove`] finds out. Otherwise the
    /// connection is left.
    pub(crate) async fn require(&self, link: &RedisLink, keys: &QueueKeys) -> Result<(), QueueError> {
        let run = |line: Line| async move { Ok((self.prove(&line, keys).await?, line)) };
        let (found, line) = link.run_on_line(run).await?;
        if found.is_complete() {
            return Ok(());
        }
        link.leave(line.generation).await;
        Err(QueueError::Unconfirmed(found))
    }
}

async fn send(
    commands: impl IntoIterator<Item = Cmd>,
    connection: &mut MultiplexedConnection,
) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    connection.req_packed_commands(&pipeline, 0, pipeline.len()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_without_a_limit() {
        let [wait, _waitaof] = Confirmer::new(1, Duration::from_millis(2)).commands();
        assert_eq!(wait.get_packed_command(), b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n1\r\n");
    }
}

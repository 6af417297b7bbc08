//! MULTI and EXEC as plain commands of one pipeline.
//!
//! The atomic pipelines of the crate `redis` panic in debug builds if the server refuses MULTI itself (NOAUTH), and report
//! the cause of an EXECABORT only as text.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};

/// Commands that the server runs together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pipeline: Pipeline,
    /// Commands behind EXEC.
    followers: usize,
}

impl Transaction {
    /// MULTI, `commands`, EXEC.
    pub(crate) fn new(commands: impl IntoIterator<Item = Cmd>) -> Self {
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.cmd("EXEC");
        Self { pipeline, followers: 0 }
    }

    /// Sends these commands behind EXEC, in the same pipeline.
    pub(crate) fn followed_by(mut self, commands: impl IntoIterator<Item = Cmd>) -> Self {
        for command in commands {
            self.pipeline.add_command(command);
            self.followers += 1;
        }
        self
    }

    /// Runs it and returns the commands' replies, as a tuple or a list.
    ///
    /// # Errors
    ///
    /// The first error that the server replied with. An error before that of EXEC is its cause.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<T> {
        let done = Value::Array(self.replies(connection).await?);
        Ok(T::from_redis_value(done.extract_error()?)?)
    }

    /// Runs it. A command that failed has its error among the replies; the server has run the others.
    ///
    /// # Errors
    ///
    /// The first error that the server replied with before it ran any command.
    pub(crate) async fn replies(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Value>> {
        self.all_replies(connection).await.map(|(replies, _followers)| replies)
    }

    /// As [`Transaction::replies`], and the replies to the commands behind EXEC, errors among them.
    pub(crate) async fn all_replies(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<(Vec<Value>, Vec<Value>)> {
        let mut replies = connection.req_packed_commands(&self.pipeline, 0, self.pipeline.len()).await?;
        let followers = replies.split_off(replies.len().saturating_sub(self.followers));
        let mut done = Value::Nil;
        for reply in replies {
            if let Value::ServerError(error) = reply {
                return Err(RedisError::from(error));
            }
            done = reply;
        }
        Ok((redis::from_redis_value(done)?, followers))
    }
}

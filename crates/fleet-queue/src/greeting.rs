//! A server's mode and role.

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};

/// The reply to HELLO, the only command that returns a server's mode and role and that every user may run.
/// <https://redis.io/docs/latest/commands/hello/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    mode: String,
    role: String,
}

impl Greeting {
    /// Sends HELLO. `None` from a server that refuses it, such as a proxy, or a server that requires a login first.
    ///
    /// # Errors
    ///
    /// A broken connection.
    pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Option<Self>> {
        match redis::cmd("HELLO").query_async::<Value>(connection).await {
            Ok(reply) => Ok(Self::read(&reply)),
            // If something is wrong, the next command on the connection reports it.
            Err(error) if error.clone().into_server_errors().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Parses the reply: alternating names and values (RESP2), or a map (RESP3).
    fn read(reply: &Value) -> Option<Self> {
        let fields: Vec<(String, Value)> = Vec::from_redis_value_ref(reply).ok()?;
        let field = |name: &str| {
            let (_name, value) = fields.iter().find(|(found, _value)| found == name)?;
            String::from_redis_value_ref(value).ok()
        };
        Some(Self { mode: field("mode")?, role: field("role")? })
    }

    /// The server is part of a Redis Cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.mode == "cluster"
    }
}

/// Fails with READONLY, as a write would, if the server is a replica.
pub(crate) async fn require_primary(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    match Greeting::ask(connection).await? {
        Some(greeting) if greeting.role != "master" => {
            let detail = "the server is a replica".to_owned();
            Err(redis::make_extension_error("READONLY".to_owned(), Some(detail)))
        }
        Some(_) | None => Ok(()),
    }
}

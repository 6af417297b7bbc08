//! What a server says about itself to every user.

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};

/// The reply to HELLO, the one command that tells a server's mode and role and that no ACL can take away.
/// <https://redis.io/docs/latest/commands/hello/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    mode: String,
    role: String,
}

impl Greeting {
    /// Asks for it; `None` from a server that refuses, such as one that asks for a login first, or a proxy.
    ///
    /// # Errors
    ///
    /// A connection that is broken.
    pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<Option<Self>> {
        match redis::cmd("HELLO").query_async::<Value>(connection).await {
            Ok(reply) => Ok(Self::read(&reply)),
            // What comes next on the connection says what is wrong, if anything is.
            Err(error) if error.clone().into_server_errors().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the reply: names and values, one after the other (RESP2) or as a map (RESP3).
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

/// Fails as a write would if the server follows another one.
pub(crate) async fn require_primary(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    match Greeting::ask(connection).await? {
        Some(greeting) if greeting.role != "master" => {
            let detail = "the server is a replica".to_owned();
            Err(redis::make_extension_error("READONLY".to_owned(), Some(detail)))
        }
        Some(_) | None => Ok(()),
    }
}

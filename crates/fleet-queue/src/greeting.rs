//! A server's mode and role.

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};

use crate::error::QueueError;
use crate::topology::Topology;

/// The reply to HELLO, the only command that returns a server's mode and role and that every user may run.
/// <https://redis.io/docs/latest/commands/hello/>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    mode: String,
    /// A Sentinel has none.
    role: Option<String>,
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
        Some(Self { mode: field("mode")?, role: field("role") })
    }

    /// Checks that the server is one of this topology.
    ///
    /// # Errors
    ///
    /// [`QueueError::WrongTopology`].
    pub(crate) fn require(&self, topology: Topology) -> Result<(), QueueError> {
        let (found, needs) = match self.mode.as_str() {
            "sentinel" => ("is a Sentinel", Topology::Sentinel),
            "cluster" => ("runs in cluster mode", Topology::Cluster),
            // `standalone`, or what a proxy says.
            _ => ("is neither a Sentinel nor part of a cluster", Topology::Single),
        };
        if needs == topology { Ok(()) } else { Err(QueueError::WrongTopology { found, needs }) }
    }

    /// The server says that it is a primary.
    pub(crate) fn is_primary(&self) -> bool {
        self.role.as_deref() == Some("master")
    }

    /// The server says that it is a replica.
    pub(crate) fn is_replica(&self) -> bool {
        self.role.as_deref().is_some_and(|role| role != "master")
    }
}

/// Fails with READONLY, as a write would, if the server is a replica.
pub(crate) async fn require_primary(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    match Greeting::ask(connection).await? {
        Some(greeting) if greeting.is_replica() => {
            let detail = "the server is a replica".to_owned();
            Err(redis::make_extension_error("READONLY".to_owned(), Some(detail)))
        }
        Some(_) | None => Ok(()),
    }
}

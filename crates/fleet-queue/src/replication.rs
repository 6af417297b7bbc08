//! A primary's replicas, as ROLE reports them.

use redis::{FromRedisValue, Value};

use crate::error::QueueError;
use crate::link::RedisLink;

/// A primary and its connected replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Bytes that the primary has ever sent to replicas.
    pub offset: u64,
    /// The replicas that are connected and synchronized.
    pub replicas: Vec<Replica>,
}

/// A connected replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The address that it has announced, or from which it has connected.
    pub host: String,
    /// The port on which it listens.
    pub port: u16,
    /// Bytes that it had received when it last said so. It does that once a second, and whenever WAIT asks.
    pub offset: u64,
}

impl Replication {
    /// Asks for it. `None` if the user may not run ROLE, or if the server is no primary.
    ///
    /// # Errors
    ///
    /// A [`QueueError`] that is not about permissions, such as a timeout.
    pub async fn read(link: &RedisLink) -> Result<Option<Self>, QueueError> {
        let asked = link.command::<Value>(&redis::cmd("ROLE")).await;
        match asked {
            Ok(reply) => Ok(Self::parse(&reply)),
            Err(error) if error.is_missing_permission() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(reply: &Value) -> Option<Self> {
        let (role, offset, replicas) =
            <(String, u64, Vec<(String, u16, u64)>)>::from_redis_value_ref(reply).ok()?;
        let replica = |(host, port, offset)| Replica { host, port, offset };
        (role == "master").then(|| Self { offset, replicas: replicas.into_iter().map(replica).collect() })
    }

    /// Bytes that the slowest replica has not received.
    pub fn lag_bytes(&self) -> u64 {
        let behind = self.replicas.iter().map(|replica| self.offset.saturating_sub(replica.offset));
        behind.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn of_a_primary() {
        let replica = |port: &str, offset: &str| Value::Array(["10.0.0.2", port, offset].map(text).to_vec());
        let replicas = Value::Array(vec![replica("6379", "90"), replica("6380", "70")]);
        let reply = Value::Array(vec![text("master"), Value::Int(100), replicas]);
        let found = Replication::parse(&reply).unwrap();
        assert_eq!((found.offset, found.replicas.len(), found.lag_bytes()), (100, 2, 30));
        assert_eq!(found.replicas[1], Replica { host: "10.0.0.2".to_owned(), port: 6380, offset: 70 });
    }

    #[test]
    fn of_a_replica_there_is_none() {
        let words = ["slave", "10.0.0.1", "6379", "connected"].map(text);
        let reply = Value::Array(words.into_iter().chain([Value::Int(100)]).collect());
        assert_eq!(Replication::parse(&reply), None);
    }
}

//! What keeps pushes from being confirmed by replicas.

use std::fmt;

use redis::Value;

use crate::confirmation::Confirmation;
use crate::error::QueueError;
use crate::push::Producer;

/// Why no push can be confirmed. Its text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There are fewer replicas than wanted, or they do not store what they receive.
    TooFewReplicas(Confirmation),
    /// The user may not run WAIT or WAITAOF, or may not write the ledger.
    MissingPermission,
    /// The primary has no append-only file.
    NoAppendOnlyFile,
    /// The server does not know WAITAOF.
    TooOld,
}

impl Obstacle {
    /// How many of the `wanted` replicas are missing.
    pub fn missing_replicas(self, wanted: u32) -> u32 {
        match self {
            Self::TooFewReplicas(found) => wanted.saturating_sub(found.received.min(found.on_replicas)),
            Self::MissingPermission | Self::NoAppendOnlyFile | Self::TooOld => wanted,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // This error says what to do.
            Self::TooFewReplicas(found) => QueueError::Unconfirmed(*found).fmt(formatter),
            Self::MissingPermission => formatter.write_str(
                "the Redis user may not run WAIT, WAITAOF or HINCRBY on the ledger; give it the rights in compose/users.acl, \
                 for example with ACL SETUSER api +wait +waitaof",
            ),
            Self::NoAppendOnlyFile => {
                formatter.write_str("the primary has no append-only file; set appendonly yes, or FLEET_QUEUE__REPLICAS=0")
            }
            Self::TooOld => formatter.write_str(
                "the server does not know WAITAOF; use Redis 7.2 or newer, or Valkey, or set FLEET_QUEUE__REPLICAS=0",
            ),
        }
    }
}

impl Producer {
    /// What keeps pushes from being confirmed now. `None` if nothing does, or if they wait for no replica.
    ///
    /// # Errors
    ///
    /// A [`QueueError`] that says nothing about replicas, for example a timeout.
    pub async fn obstacle(&self) -> Result<Option<Obstacle>, QueueError> {
        match self.prove().await {
            Ok(()) => Ok(None),
            Err(QueueError::Unconfirmed(found)) => Ok(Some(Obstacle::TooFewReplicas(found))),
            Err(error) if error.is_missing_permission() => Ok(Some(Obstacle::MissingPermission)),
            Err(QueueError::Refused { code, .. }) if code == "ERR" => self.why_refused().await.map(Some),
            Err(error) => Err(error),
        }
    }

    /// Why the server refuses WAITAOF. Only without an append-only file it still accepts it for 0 servers.
    async fn why_refused(&self) -> Result<Obstacle, QueueError> {
        let mut command = redis::cmd("WAITAOF");
        command.arg(&[0, 0, 1]);
        match self.link.command::<Value>(&command).await {
            Ok(_reply) => Ok(Obstacle::NoAppendOnlyFile),
            Err(QueueError::Refused { code, .. }) if code == "ERR" => Ok(Obstacle::TooOld),
            Err(error) => Err(error),
        }
    }
}

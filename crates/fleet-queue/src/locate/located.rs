//! A server that was located, and what a check says about it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::dial::{Dialer, Server};
use crate::error::QueueError;
use crate::greeting::Greeting;
use crate::report::Departure;
use crate::topology::Topology;

/// After the first usable answer, how long to wait for answers of other servers that may contradict it.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// Most time for a question in the background.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(1);

/// A connection to the server that was located.
#[derive(Clone)]
pub(crate) struct Located {
    pub(crate) server: Server,
    pub(crate) connection: MultiplexedConnection,
    pub(crate) role: Role,
    /// The number of the Sentinels' configuration that names this server. Each failover increases it.
    pub(crate) epoch: Option<u64>,
}

/// What a server says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
    /// It refuses HELLO, as proxies do.
    Untold,
}

/// What a check says about the server of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the primary.
    Primary,
    /// It is not known whether it is.
    Unknown,
    /// It is a replica, and no other server is configured.
    Replica,
    /// The link must leave it.
    Left(Departure),
}

impl Located {
    /// Connects, and asks the server for its role.
    ///
    /// # Errors
    ///
    /// Any [`QueueError`]; [`QueueError::WrongTopology`] if the server does not belong to this topology.
    pub(super) async fn open(
        dialer: &Dialer,
        server: Server,
        topology: Topology,
    ) -> Result<Self, QueueError> {
        let mut connection = dialer.dial(&server).await?;
        let role = role(&mut connection, topology).await?;
        Ok(Self { server, connection, role, epoch: None })
    }

    /// As [`Located::open`], for a server that must say that it is a primary, because other servers may be it.
    ///
    /// # Errors
    ///
    /// As [`Located::open`]; READONLY from a replica.
    pub(super) async fn open_primary(
        dialer: &Dialer,
        server: Server,
        topology: Topology,
    ) -> Result<Self, QueueError> {
        let mut located = Self::open(dialer, server, topology).await?;
        match located.role {
            Role::Primary => Ok(located),
            Role::Replica => Err(QueueError::Refused {
                code: "READONLY".to_owned(),
                message: "it is a replica".to_owned(),
            }),
            Role::Untold => {
                // A server that requires another login refuses this, too, and says why.
                let () = redis::cmd("PING").query_async(&mut located.connection).await?;
                Err(QueueError::NoPrimary("it refuses HELLO, and so does not tell its role".to_owned()))
            }
        }
    }

    /// Whether the server itself still says that it is a primary. Replies to earlier calls, such as WAIT, come first.
    pub(super) async fn own_verdict(&self, within: Duration) -> Verdict {
        match tokio::time::timeout(within, Greeting::ask(&mut self.connection.clone())).await {
            Ok(Ok(Some(greeting))) if greeting.is_replica() => match self.role {
                Role::Replica => Verdict::Replica,
                Role::Primary | Role::Untold => Verdict::Left(Departure::Demoted),
            },
            Ok(Ok(Some(_) | None)) => Verdict::Primary,
            Ok(Err(_broken)) => Verdict::Left(Departure::Connection),
            Err(_elapsed) => Verdict::Left(Departure::Timeout),
        }
    }
}

async fn role(connection: &mut MultiplexedConnection, topology: Topology) -> Result<Role, QueueError> {
    let Some(greeting) = Greeting::ask(connection).await? else { return Ok(Role::Untold) };
    greeting.require(topology)?;
    Ok(match (greeting.is_primary(), greeting.is_replica()) {
        (true, _) => Role::Primary,
        (false, true) => Role::Replica,
        (false, false) => Role::Untold,
    })
}

/// The error for a primary that none of these servers led to: all of the failures, or the first one if only an operator can
/// correct them.
pub(super) fn not_found<'a>(
    context: &str,
    failed: impl IntoIterator<Item = (&'a Server, QueueError)>,
) -> QueueError {
    let failed: Vec<_> = failed.into_iter().collect();
    let is_operators = |error: &QueueError| error.is_permanent() || error.needs_other_credentials();
    let reasons: Vec<_> = failed.iter().map(|(server, error)| format!("{server}: {error}")).collect();
    // If other servers fail for other reasons, the next attempt may succeed.
    let all_operators = failed.iter().all(|(_server, error)| is_operators(error));
    match failed.into_iter().next() {
        Some((_server, error)) if all_operators => error,
        Some(_) | None => QueueError::NoPrimary(format!("{context}{}", reasons.join("; "))),
    }
}

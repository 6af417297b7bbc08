//! The URL's hosts are nodes of a Redis Cluster. Each queue has a slot, and the slot has a primary.
//!
//! A node replies to a command on one of the queue's keys only if it is this primary. Any other node replies MOVED with the
//! primary's address, or CLUSTERDOWN if it is cut off from the majority. So a read of the ledger locates the primary, and needs
//! no permission of its own. CLUSTER SLOTS would need one, and a node that is cut off still replies to it.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding>

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};

use crate::dial::{Dialer, Server};
use crate::error::QueueError;
use crate::error_kind::ErrorKind;
use crate::gather::{Answers, gather};
use crate::keys::QueueKeys;
use crate::report::Departure;
use crate::topology::Topology;

use super::located::{Located, Role, Verdict, not_found};

/// Most redirections. After a failover, nodes that have not heard of it yet may refer to each other.
const MAX_MOVES: usize = 4;

/// The nodes of the URL, and the queue whose primary is to be found.
pub(crate) struct Cluster {
    dialer: Dialer,
    nodes: Vec<Server>,
    probe: Option<Cmd>,
}

/// What a node's reply to the probe says.
enum Reply {
    /// The node has the queue.
    Owner,
    /// The node at this address has it.
    Moved(Server),
}

impl Cluster {
    pub(super) fn new(dialer: Dialer, nodes: Vec<Server>, queue: Option<&QueueKeys>) -> Self {
        let probe = queue.map(|keys| redis::cmd("HMGET").arg(&keys.ledger).arg("accepted_messages").take());
        Self { dialer, nodes, probe }
    }

    /// Connects to the servers of Redis.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) async fn locate(&self) -> Result<Located, QueueError> {
        let questions = self.nodes.iter().map(|node| {
            let (dialer, node, probe) = (self.dialer.clone(), node.clone(), self.probe.clone());
            async move { follow(&dialer, node, probe.as_ref()).await }
        });
        let Answers { good, failed } = gather(questions, Duration::ZERO).await;
        if let Some((_place, located)) = good.into_iter().next() {
            return Ok(located);
        }
        let failed = failed.into_iter().filter_map(|(place, error)| Some((self.nodes.get(place)?, error)));
        Err(not_found("no node of FLEET_REDIS_URL leads to the primary of this queue: ", failed))
    }

    pub(super) async fn check(&self, located: &Located, within: Duration) -> Verdict {
        let Some(probe) = &self.probe else { return located.own_verdict(within).await };
        let mut connection = located.connection.clone();
        match tokio::time::timeout(within, ask(&self.dialer, &located.server, &mut connection, probe)).await {
            Ok(Ok(Reply::Owner)) => Verdict::Primary,
            Ok(Ok(Reply::Moved(_))) => Verdict::Left(Departure::Cluster),
            Ok(Err(error)) => Verdict::Left(error.departure()),
            Err(_elapsed) => Verdict::Left(Departure::Timeout),
        }
    }
}

/// Goes from `node` to the primary of the queue.
async fn follow(dialer: &Dialer, node: Server, probe: Option<&Cmd>) -> Result<Located, QueueError> {
    let Some(probe) = probe else {
        // Without a queue, any primary will do.
        return Located::open_primary(dialer, node, Topology::Cluster).await;
    };
    let mut server = node;
    for _ in 0..MAX_MOVES {
        let mut located = Located::open(dialer, server, Topology::Cluster).await?;
        match ask(dialer, &located.server, &mut located.connection, probe).await? {
            Reply::Owner => return Ok(Located { role: Role::Primary, ..located }),
            Reply::Moved(to) => server = to,
        }
    }
    Err(QueueError::NoPrimary(format!("it leads to {server} after {MAX_MOVES} redirections")))
}

async fn ask(
    dialer: &Dialer,
    asked: &Server,
    connection: &mut MultiplexedConnection,
    probe: &Cmd,
) -> Result<Reply, QueueError> {
    let error = match probe.query_async::<Value>(connection).await {
        Ok(_ledger) => return Ok(Reply::Owner),
        Err(error) => error,
    };
    match error.code() {
        Some("MOVED") => Ok(Reply::Moved(moved_to(dialer, asked, &error)?)),
        // The slot is on its way to another node, and this one still has it.
        Some("ASK" | "TRYAGAIN") => Ok(Reply::Owner),
        // The server checks permissions before it looks at the slot.
        Some("NOPERM") => Ok(Reply::Owner),
        Some(code) if is_owners(ErrorKind::of_code(code)) => Ok(Reply::Owner),
        Some(_) | None => Err(error.into()),
    }
}

/// Errors that only the node with the queue replies with, such as that of a broken ledger.
fn is_owners(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WrongType | ErrorKind::Oom | ErrorKind::Misconf)
}

/// The address in a MOVED. An empty host is that of the node that was asked.
fn moved_to(dialer: &Dialer, asked: &Server, error: &RedisError) -> Result<Server, QueueError> {
    let unclear = || {
        QueueError::NoPrimary(format!(
            "{asked} redirects to an unknown address ({error}); set cluster-announce-hostname or cluster-announce-ip on every \
             node"
        ))
    };
    let (address, _slot) = error.redirect_node().ok_or_else(unclear)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unclear)?;
    let port = port.parse().map_err(|_not_a_port| unclear())?;
    match host {
        "" => Ok(dialer.server(asked.host(), port)),
        "?" => Err(unclear()),
        host => Ok(dialer.server(host, port)),
    }
}

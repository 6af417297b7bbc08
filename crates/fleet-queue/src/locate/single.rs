//! The URL's hosts are the candidates for the primary.

use std::time::Duration;

use crate::dial::{Dialer, Server, Session};
use crate::error::QueueError;
use crate::gather::{Answers, gather};
use crate::greeting::Greeting;
use crate::report::Departure;
use crate::topology::Topology;

use super::located::{ASK_WITHIN, GRACE, Located, Verdict, not_found};
use super::replication::{History, newest};

/// One host, or several of which one is the primary.
pub(crate) struct Single {
    dialer: Dialer,
    hosts: Vec<Session>,
}

impl Single {
    pub(super) fn new(dialer: Dialer, servers: Vec<Server>) -> Self {
        let hosts = servers.into_iter().map(|server| Session::new(server, dialer.clone())).collect();
        Self { dialer, hosts }
    }

    /// Connects to the servers of Redis.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) async fn locate(&self) -> Result<Located, QueueError> {
        match self.hosts.as_slice() {
            // The one host may also be a proxy, which hides the role.
            [only] => Located::open(&self.dialer, only.server.clone(), Topology::Single).await,
            hosts => self.locate_among(hosts).await,
        }
    }

    /// Several hosts are asked at the same time, because one of them may swallow packets.
    async fn locate_among(&self, hosts: &[Session]) -> Result<Located, QueueError> {
        let questions = hosts.iter().map(|host| candidate(self.dialer.clone(), host.server.clone()));
        let Answers { mut good, failed } = gather(questions, GRACE).await;
        let histories: Vec<_> = good.iter().map(|(_place, (_located, history))| history.clone()).collect();
        if let Some(place) = newest(&histories) {
            let (_place, (located, _history)) = good.swap_remove(place);
            return Ok(located);
        }
        let failed = failed.into_iter().filter_map(|(place, error)| Some((&hosts.get(place)?.server, error)));
        Err(not_found("no host of FLEET_REDIS_URL is a primary: ", failed))
    }

    pub(super) async fn check(&self, located: &Located, within: Duration) -> Verdict {
        let own = located.own_verdict(within).await;
        if own != Verdict::Primary {
            return own;
        }
        let others = self.hosts.iter().filter(|host| host.server != located.server).cloned();
        let Answers { good, failed: _ } = gather(others.map(rival), ASK_WITHIN).await;
        let rivals: Vec<_> = good.into_iter().filter_map(|(_place, rival)| rival).collect();
        if rivals.is_empty() {
            return Verdict::Primary;
        }
        // Two hosts say that they are primaries.
        match tokio::time::timeout(within, History::ask(&mut located.connection.clone())).await {
            Ok(Ok(Some(own))) if rivals.iter().flatten().any(|rival| rival.succeeds(&own)) => {
                Verdict::Left(Departure::Superseded)
            }
            Ok(Ok(_unrelated)) => Verdict::Unknown,
            Ok(Err(_broken)) => Verdict::Left(Departure::Connection),
            Err(_elapsed) => Verdict::Left(Departure::Timeout),
        }
    }
}

async fn candidate(dialer: Dialer, server: Server) -> Result<(Located, Option<History>), QueueError> {
    let mut located = Located::open_primary(&dialer, server, Topology::Single).await?;
    let history = History::ask(&mut located.connection).await?;
    Ok((located, history))
}

/// The history of another host, if it also says that it is a primary; unknown if the user may not run INFO.
async fn rival(host: Session) -> Result<Option<Option<History>>, QueueError> {
    let asking = host.ask(|mut connection| async move {
        match Greeting::ask(&mut connection).await? {
            Some(greeting) if greeting.is_primary() => Ok(Some(History::ask(&mut connection).await?)),
            Some(_) | None => Ok(None),
        }
    });
    tokio::time::timeout(ASK_WITHIN, asking).await.map_err(|_elapsed| QueueError::Timeout(ASK_WITHIN))?
}

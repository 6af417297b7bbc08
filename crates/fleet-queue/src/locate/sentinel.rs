//! The URL's hosts are Sentinels, which know the primary.
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{FromRedisValue, RedisError, Value};

use crate::dial::{Dialer, Server, Session};
use crate::error::QueueError;
use crate::gather::{Answers, gather};
use crate::greeting::Greeting;
use crate::report::Departure;
use crate::topology::Topology;

use super::located::{ASK_WITHIN, GRACE, Located, Verdict, not_found};

/// The Sentinels, and how to reach the servers that they name.
pub(crate) struct Sentinels {
    name: String,
    sentinels: Vec<Session>,
    dialer: Dialer,
}

/// Which server a Sentinel takes for the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    host: String,
    port: u16,
    /// The number of the Sentinel's configuration; each failover increases it. `None` if the Sentinel's user may not ask.
    epoch: Option<u64>,
}

impl Sentinels {
    pub(super) fn new(name: &str, to_sentinels: &Dialer, sentinels: Vec<Server>, dialer: Dialer) -> Self {
        let sentinels =
            sentinels.into_iter().map(|server| Session::new(server, to_sentinels.clone())).collect();
        Self { name: name.to_owned(), sentinels, dialer }
    }

    /// Connects to the servers of Redis.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    pub(super) async fn locate(&self) -> Result<Located, QueueError> {
        let Answers { good, failed } = self.ask_all().await;
        let answers: Vec<_> = good.into_iter().filter_map(|(_place, answer)| answer).collect();
        let newest = newest(&answers);
        if newest.is_empty() {
            return Err(self.nobody_knows(failed));
        }
        let servers: Vec<_> =
            newest.iter().map(|answer| self.dialer.server(&answer.host, answer.port)).collect();
        let questions = servers.iter().cloned().map(|server| {
            let dialer = self.dialer.clone();
            async move { Located::open_primary(&dialer, server, Topology::Single).await }
        });
        let Answers { good, failed } = gather(questions, GRACE).await;
        if let Some((place, located)) = good.into_iter().next() {
            let epoch = newest.get(place).and_then(|answer| answer.epoch);
            return Ok(Located { epoch, ..located });
        }
        let failed = failed.into_iter().filter_map(|(place, error)| Some((servers.get(place)?, error)));
        Err(not_found("the Sentinels name a primary that is not usable: ", failed))
    }

    pub(super) async fn check(&self, located: &Located, within: Duration) -> Verdict {
        // An isolated primary replies late, because its replicas do not confirm. The Sentinels do not.
        let named = self.named(located).await;
        if named == Verdict::Left(Departure::Superseded) {
            return named;
        }
        match located.own_verdict(within).await {
            Verdict::Primary => named,
            own @ (Verdict::Unknown | Verdict::Replica | Verdict::Left(_)) => own,
        }
    }

    /// Whether the Sentinels still name this server.
    async fn named(&self, located: &Located) -> Verdict {
        let Answers { good, failed: _ } = self.ask_all().await;
        let answers: Vec<_> = good.into_iter().filter_map(|(_place, answer)| answer).collect();
        let newest = newest(&answers);
        let Some(first) = newest.first() else { return Verdict::Unknown };
        let names_it = |answer: &Answer| self.dialer.server(&answer.host, answer.port) == located.server;
        if newest.iter().any(names_it) {
            Verdict::Primary
        } else if first.epoch < located.epoch {
            // Only Sentinels that have missed a failover respond.
            Verdict::Unknown
        } else {
            Verdict::Left(Departure::Superseded)
        }
    }

    async fn ask_all(&self) -> Answers<Option<Answer>> {
        let questions = self.sentinels.iter().map(|sentinel| ask(sentinel.clone(), self.name.clone()));
        gather(questions, GRACE).await
    }

    fn nobody_knows(&self, failed: Vec<(usize, QueueError)>) -> QueueError {
        let asked: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.server.to_string()).collect();
        let (asked, name) = (asked.join(", "), &self.name);
        let mut reasons = Vec::new();
        let responded = self.sentinels.len() - failed.len();
        let all_permanent = responded == 0 && failed.iter().all(|(_place, error)| error.is_permanent());
        for (place, error) in failed {
            if all_permanent {
                return error;
            }
            let server = self.sentinels.get(place).map(|sentinel| sentinel.server.to_string());
            let advice = if error.needs_other_credentials() {
                "; check FLEET_REDIS__SENTINEL_USER and FLEET_REDIS__SENTINEL_PASSWORD against the Sentinel's ACL"
            } else {
                ""
            };
            reasons.push(format!("{}: {error}{advice}", server.unwrap_or_default()));
        }
        let reasons = reasons.join("; ");
        QueueError::NoPrimary(if responded > 0 {
            format!(
                "no Sentinel knows a primary of the name {name} (asked: {asked}); check FLEET_REDIS__SENTINEL_NAME against \
                 `sentinel monitor <name>` of the Sentinels' configuration{}{reasons}",
                if reasons.is_empty() { "" } else { "; " }
            )
        } else {
            format!("no Sentinel responds (asked: {asked}): {reasons}")
        })
    }
}

/// The answers of the newest configuration, each server once, those of most Sentinels first. A Sentinel that was cut off
/// during a failover has an older configuration.
fn newest(answers: &[Answer]) -> Vec<Answer> {
    let epoch = answers.iter().filter_map(|answer| answer.epoch).max();
    let mut newest: Vec<(usize, Answer)> = Vec::new();
    for answer in answers.iter().filter(|answer| answer.epoch == epoch) {
        match newest.iter_mut().find(|(_count, found)| found == answer) {
            Some((count, _found)) => *count += 1,
            None => newest.push((1, answer.clone())),
        }
    }
    newest.sort_by_key(|(count, _answer)| std::cmp::Reverse(*count));
    newest.into_iter().map(|(_count, answer)| answer).collect()
}

async fn ask(sentinel: Session, name: String) -> Result<Option<Answer>, QueueError> {
    let asking = sentinel.ask(|connection| question(connection, &name));
    tokio::time::timeout(ASK_WITHIN, asking).await.map_err(|_elapsed| QueueError::Timeout(ASK_WITHIN))?
}

/// `None` from a Sentinel that does not know the name.
async fn question(mut connection: MultiplexedConnection, name: &str) -> Result<Option<Answer>, QueueError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    // It has the configuration's number. Not every user may ask for it.
    pipeline.cmd("SENTINEL").arg("MASTER").arg(name);
    let replies = connection.req_packed_commands(&pipeline, 0, pipeline.len()).await?;
    let mut replies = replies.into_iter();
    let (address, details) = (replies.next().unwrap_or_default(), replies.next().unwrap_or_default());
    if let Value::ServerError(refused) = address {
        let refused = QueueError::from(RedisError::from(refused));
        if let Some(greeting) = Greeting::ask(&mut connection).await? {
            greeting.require(Topology::Sentinel)?;
        } else if matches!(&refused, QueueError::Refused { code, .. } if code == "ERR") {
            // It does not know the command. A server of Redis says so also to somebody who has not logged in.
            let found = "does not know the command SENTINEL";
            return Err(QueueError::WrongTopology { found, needs: Topology::Single });
        }
        return Err(refused);
    }
    let address: Option<(String, u16)> = redis::from_redis_value(address).map_err(RedisError::from)?;
    Ok(address.map(|(host, port)| Answer { host, port, epoch: epoch(&details) }))
}

fn epoch(details: &Value) -> Option<u64> {
    let fields: Vec<(String, String)> = Vec::from_redis_value_ref(details).ok()?;
    fields.iter().find(|(name, _value)| name == "config-epoch")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(host: &str, epoch: Option<u64>) -> Answer {
        Answer { host: host.to_owned(), port: 1, epoch }
    }

    #[test]
    fn the_newest_configuration_counts_and_then_the_number_of_sentinels() {
        let hosts = |answers: &[Answer]| -> Vec<_> {
            newest(answers).into_iter().map(|answer| answer.host).collect()
        };
        let [old, new] = [answer("old", Some(3)), answer("new", Some(4))];
        assert_eq!(hosts(&[old.clone(), new.clone(), old.clone()]), ["new"], "also against a majority");
        assert_eq!(hosts(&[answer("blind", None), old]), ["old"]);
        let blind = [answer("a", None), answer("b", None), answer("b", None)];
        assert_eq!(hosts(&blind), ["b", "a"]);
        assert!(hosts(&[]).is_empty());
    }
}

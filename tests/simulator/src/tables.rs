//! The queries of the run to the databases and the queues, except for the comparison.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::database::Database;
use crate::error::Error;
use crate::vehicle::{Provider, Vehicle};

const REDIS_PATIENCE: Duration = Duration::from_secs(10);

/// The Redis servers of the queues.
#[derive(Clone, Debug)]
pub struct Queues {
    clients: Vec<redis::Client>,
    prefix: String,
}

impl Queues {
    /// The queues whose keys start with `prefix`.
    ///
    /// # Errors
    ///
    /// If a URL is invalid.
    pub fn new(urls: &[String], prefix: &str) -> Result<Self, Error> {
        let clients = urls.iter().map(|url| redis::Client::open(url.as_str())).collect::<Result<_, _>>()?;
        Ok(Self { clients, prefix: prefix.to_owned() })
    }

    /// The sum of the ledgers of all providers and queue shards.
    ///
    /// # Errors
    ///
    /// If a server cannot be reached or does not respond within 10 s.
    pub async fn ledger(&self) -> Result<Ledger, Error> {
        let mut found = Ledgers::default();
        for client in &self.clients {
            found.merge(ledgers_within(REDIS_PATIENCE, self.ledgers_of(client)).await?);
        }
        Ok(found.sum())
    }

    /// The ledgers on the servers that respond within `patience` each.
    pub async fn reachable_ledgers(&self, patience: Duration) -> Ledgers {
        let mut found = Ledgers::default();
        for client in &self.clients {
            if let Ok(ledgers) = ledgers_within(patience, self.ledgers_of(client)).await {
                found.merge(ledgers);
            }
        }
        found
    }

    /// The ledgers on one server. None on a replica, whose ledgers are its primary's.
    async fn ledgers_of(&self, client: &redis::Client) -> Result<Ledgers, Error> {
        let mut connection = client.get_multiplexed_async_connection().await?;
        if self.clients.len() > 1 {
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            if role.first() != Some(&redis::Value::BulkString(b"master".to_vec())) {
                return Ok(Ledgers::default());
            }
        }
        let pattern = format!("{}:*:ledger", self.prefix);
        let (mut cursor, mut found) = (0_u64, Ledgers::default());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000);
            let (next, ledgers): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
            for key in ledgers {
                let mut read = redis::cmd("HMGET");
                read.arg(&key).arg("accepted_messages").arg("settled_messages");
                let (accepted, settled): (Option<i64>, Option<i64>) =
                    read.query_async(&mut connection).await?;
                let ledger = Ledger { accepted: accepted.unwrap_or(0), settled: settled.unwrap_or(0) };
                found.0.insert(key, ledger);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(found);
            }
        }
    }
}

async fn ledgers_within(
    patience: Duration,
    read: impl Future<Output = Result<Ledgers, Error>>,
) -> Result<Ledgers, Error> {
    timeout(patience, read).await.map_err(|_elapsed| Error::RedisTimeout)?
}

/// The ledgers of several queues, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledgers(BTreeMap<String, Ledger>);

impl Ledgers {
    /// Adds another server's. During a failover two servers may be the primary of a queue; the one with more messages counts.
    fn merge(&mut self, others: Self) {
        for (key, other) in others.0 {
            let ledger = self.0.entry(key).or_default();
            if (other.accepted, other.settled) > (ledger.accepted, ledger.settled) {
                *ledger = other;
            }
        }
    }

    /// Replaces the ledgers that `newer` has. Returns true if one of them has settled messages since, or if no queue has a
    /// backlog. Without newer ones there is no progress.
    pub fn progress(&mut self, newer: Self) -> bool {
        if newer.0.is_empty() {
            return false;
        }
        let mut has_settled = false;
        for (key, new) in newer.0 {
            let old = self.0.insert(key, new).unwrap_or_default();
            // After a failover it may be less.
            has_settled |= old.settled != new.settled;
        }
        has_settled || self.0.values().all(|ledger| ledger.backlog() <= 0)
    }

    /// Their sum.
    fn sum(&self) -> Ledger {
        self.0.values().fold(Ledger::default(), |sum, ledger| Ledger {
            accepted: sum.accepted + ledger.accepted,
            settled: sum.settled + ledger.settled,
        })
    }
}

/// The total numbers of messages that the queues have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Messages pushed.
    pub accepted: i64,
    /// Messages stored and removed.
    pub settled: i64,
}

impl Ledger {
    /// Messages accepted and not settled.
    pub fn backlog(self) -> i64 {
        self.accepted - self.settled
    }
}

/// The ids of a provider's vehicles.
pub fn ids_of(fleet: &[Vehicle], provider: Provider) -> Vec<&str> {
    fleet.iter().filter(|vehicle| vehicle.provider == provider).map(|vehicle| vehicle.id.as_str()).collect()
}

/// The vehicle ids of the run's vehicles that have a row.
///
/// # Errors
///
/// Same as [`Database::query`].
pub async fn vehicle_ids(state: &mut Database, fleet: &[Vehicle]) -> Result<Vec<Uuid>, Error> {
    let sql = "SELECT vehicle_id FROM vehicles WHERE provider = $1 AND provider_vehicle_id = ANY($2)";
    let mut found = Vec::with_capacity(fleet.len());
    for provider in Provider::ALL {
        let rows = state.query(sql, &[&provider.slug(), &ids_of(fleet, provider)]).await?;
        found.extend(rows.iter().map(|row| row.get::<_, Uuid>(0)));
    }
    Ok(found)
}

/// The number of telemetry rows of the run's vehicles.
///
/// # Errors
///
/// Same as [`Database::query`].
pub async fn telemetry_rows(
    state: &mut Database,
    telemetry: &mut Database,
    fleet: &[Vehicle],
) -> Result<i64, Error> {
    let ids = vehicle_ids(state, fleet).await?;
    telemetry.number("SELECT count(*) FROM telemetry WHERE vehicle_id = ANY($1)", &[&ids]).await
}

/// The number of dead letters received at or after `since_ms`, epoch ms, from any sender.
///
/// # Errors
///
/// Same as [`Database::query`].
pub async fn dead_letters(telemetry: &mut Database, since_ms: i64) -> Result<i64, Error> {
    let since = jiff::Timestamp::from_millisecond(since_ms).unwrap_or_default();
    telemetry.number("SELECT count(*) FROM dead_letters WHERE received_at >= $1", &[&since]).await
}

/// A few of the run's vehicles as text, with the columns of [`SHOWN`].
///
/// # Errors
///
/// Same as [`Database::query`].
pub async fn current_vehicles(state: &mut Database, fleet: &[Vehicle]) -> Result<Vec<Vec<String>>, Error> {
    let sql = "SELECT provider, provider_vehicle_id, round(lat::numeric, 6)::text, round(lon::numeric, 6)::text,
            date_trunc('milliseconds', position_age)::text, battery_percent::text, range_m::text, odometer_m::text,
            powered_on::text, locked::text, charging::text, online::text
        FROM vehicle_positions WHERE provider = $1 AND provider_vehicle_id = ANY($2)
        ORDER BY provider_vehicle_id LIMIT 4";
    let mut shown = Vec::new();
    for provider in Provider::ALL {
        for row in state.query(sql, &[&provider.slug(), &ids_of(fleet, provider)]).await? {
            let cell = |index| row.get::<_, Option<String>>(index).unwrap_or_else(|| "-".to_owned());
            shown.push((0..SHOWN.len()).map(cell).collect());
        }
    }
    Ok(shown)
}

/// The columns of [`current_vehicles`].
pub const SHOWN: [&str; 12] = [
    "provider",
    "vehicle",
    "lat",
    "lon",
    "position age",
    "battery %",
    "range m",
    "odometer m",
    "powered on",
    "locked",
    "charging",
    "online",
];

#[cfg(test)]
mod tests {
    use super::{Ledger, Ledgers};

    fn ledgers(of: &[(&str, i64, i64)]) -> Ledgers {
        Ledgers(
            of.iter()
                .map(|&(key, accepted, settled)| (key.to_owned(), Ledger { accepted, settled }))
                .collect(),
        )
    }

    #[test]
    fn a_queue_with_two_primaries_counts_once() {
        let mut found = ledgers(&[("niu", 9, 4), ("segway", 5, 5)]);
        found.merge(ledgers(&[("niu", 8, 8), ("invers", 2, 1)]));
        assert_eq!(found, ledgers(&[("invers", 2, 1), ("niu", 9, 4), ("segway", 5, 5)]));
        assert_eq!(found.sum(), Ledger { accepted: 16, settled: 10 });
    }

    #[test]
    fn progress_is_a_settled_message_or_no_backlog() {
        let mut known = Ledgers::default();
        assert!(known.progress(ledgers(&[("niu", 9, 4), ("segway", 5, 5)])));
        assert!(!known.progress(ledgers(&[("niu", 10, 4)])));
        assert!(!known.progress(ledgers(&[("segway", 5, 5)])), "the unreachable queue has a backlog");
        assert!(known.progress(ledgers(&[("niu", 9, 3)])), "a failover forgot some");
        assert!(known.progress(ledgers(&[("niu", 9, 9)])));
        assert!(known.progress(ledgers(&[("segway", 5, 5)])), "nothing is left to do");
        assert!(!known.progress(Ledgers::default()));
    }
}

//! The queries of the run to the databases and the queues, except for the comparison.

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
        timeout(REDIS_PATIENCE, self.sum_ledgers()).await.map_err(|_| Error::RedisTimeout)?
    }

    async fn sum_ledgers(&self) -> Result<Ledger, Error> {
        let mut sum = Ledger::default();
        for client in &self.clients {
            sum.add(self.ledgers_of(client).await?);
        }
        Ok(sum)
    }

    /// The sum of the ledgers on one server. Zero on a replica, whose ledgers are its primary's.
    async fn ledgers_of(&self, client: &redis::Client) -> Result<Ledger, Error> {
        let mut connection = client.get_multiplexed_async_connection().await?;
        if self.clients.len() > 1 {
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            if role.first() != Some(&redis::Value::BulkString(b"master".to_vec())) {
                return Ok(Ledger::default());
            }
        }
        let pattern = format!("{}:*:ledger", self.prefix);
        let (mut cursor, mut sum) = (0_u64, Ledger::default());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1_000);
            let (next, ledgers): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
            for ledger in ledgers {
                let mut read = redis::cmd("HMGET");
                read.arg(ledger).arg("accepted_messages").arg("settled_messages");
                let (accepted, settled): (Option<i64>, Option<i64>) =
                    read.query_async(&mut connection).await?;
                sum.add(Ledger { accepted: accepted.unwrap_or(0), settled: settled.unwrap_or(0) });
            }
            cursor = next;
            if cursor == 0 {
                return Ok(sum);
            }
        }
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
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.settled += other.settled;
    }

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

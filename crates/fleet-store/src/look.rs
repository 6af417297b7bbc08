//! Reads what has changed in `vehicles` since the previous read, without an index, a trigger or a notification.
//!
//! A read remembers the oldest transaction that was running at its moment. Whatever was invisible to it was written by that
//! transaction or a later one. So the next read asks for the rows whose `xmin`, the transaction that wrote the row, is not older. It
//! misses nothing, in whatever order transactions commit. Rows that have been read since then are not read again: a transaction
//! becomes visible as a whole, so a read that has found one of its rows has found all of them. While a transaction stays open for
//! long, each read would otherwise return everything that has changed since.
//!
//! On a standby, what is read may be old. It is as of now if the standby has replayed everything that it has received and still
//! receives, also if the primary is idle. Otherwise it is as of the last transaction that was replayed.
//!
//! `age()` compares transactions correctly when their 32-bit numbers wrap around. A row that has been unchanged for two billion
//! transactions may look new, which does no harm.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::vehicle_row::{FIELDS, StoredVehicle};
use crate::{Database, StoreError};

/// Most transactions whose rows are not read again: half an hour of long transactions at 25 commits a second. Rows of further ones are
/// read again and again, which does no other harm.
const MAX_KNOWN: usize = 50_000;

/// What every read says besides the rows: the horizon, the server, how old a standby is, and how many rows there are. Every row is known to the caller
/// after it has applied the changes, so a different number means that rows were deleted.
const LOOK: &str = "WITH look AS MATERIALIZED (
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
               concat_ws(' ', pg_postmaster_start_time(), inet_server_addr(), inet_server_port(),
                         pg_is_in_recovery(), current_database()) AS server,
               CASE WHEN NOT pg_is_in_recovery() THEN 0
                    WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)
                         AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
                    ELSE extract(epoch FROM clock_timestamp()
                                 - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))
               END::double precision AS behind_s,
               (SELECT count(*) FROM vehicles) AS vehicles)
 SELECT look.horizon, look.server, look.behind_s, look.vehicles, v.provider, ";

/// The rows that are not older than a horizon, except those of the known transactions. The join returns one row if there are none.
const CHANGED: &str = ", v.xmin::text AS transaction FROM look LEFT JOIN vehicles v ON age(v.xmin) <= age(($1::text)::xid8::xid)
     AND NOT EXISTS (SELECT FROM unnest(string_to_array($2::text, ',')) AS known (transaction)
                      WHERE known.transaction::xid = v.xmin)";

/// The next rows by id, so that a whole table is never in memory.
const PAGE: &str = ", NULL AS transaction FROM look LEFT JOIN
     (SELECT * FROM vehicles WHERE vehicle_id > $1 ORDER BY vehicle_id LIMIT 5000) v ON true";

/// From where the next read goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The oldest transaction that was running, 64 bits wide.
    xmin: u64,
    /// The server process. The numbers of another server's transactions mean nothing here.
    server: String,
    /// Transactions that are not older, and whose rows have all been read. 32 bits wide, as in rows.
    known: Vec<u32>,
}

/// What a read has found.
#[derive(Clone, Debug)]
pub struct Look {
    /// From where the next read goes on.
    pub horizon: Horizon,
    /// How many vehicles there are.
    pub vehicles: usize,
    /// How old a standby is. Zero on a primary.
    pub behind: Duration,
    /// The vehicles, each once.
    rows: Vec<Row>,
}

/// A vehicle and its provider.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundVehicle {
    /// The provider's slug.
    pub provider: String,
    /// The row.
    pub vehicle: StoredVehicle,
}

impl Horizon {
    /// Notes transactions whose rows have been read, except those that no later read returns.
    fn know(&mut self, transactions: impl Iterator<Item = u32>) {
        // The numbers wrap around.
        let oldest = u32::try_from(self.xmin & u64::from(u32::MAX)).unwrap_or_default();
        let is_recent = |transaction: &u32| transaction.wrapping_sub(oldest).cast_signed() >= 0;
        self.known = transactions.filter(is_recent).collect();
        self.known.sort_unstable();
        self.known.dedup();
        self.known.truncate(MAX_KNOWN);
    }
}

impl Look {
    /// How many vehicles were found.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no vehicle was found.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The vehicles, each once. They are decoded one by one, so that the caller can pause.
    pub fn found(&self) -> impl Iterator<Item = FoundVehicle> {
        let found =
            |row: &Row| FoundVehicle { provider: row.get("provider"), vehicle: StoredVehicle::from(row) };
        self.rows.iter().map(found)
    }
}

/// Reads `vehicles` again and again.
#[derive(Clone, Debug)]
pub struct Lookout {
    database: Database,
    changed: String,
    page: String,
}

impl Lookout {
    /// Reads in `database`.
    pub fn new(database: Database) -> Self {
        let columns: Vec<_> = FIELDS.iter().map(|(name, _type)| format!("v.{name}")).collect();
        let columns = columns.join(", ");
        Self {
            database,
            changed: format!("{LOOK}{columns}{CHANGED}"),
            page: format!("{LOOK}{columns}{PAGE}"),
        }
    }

    /// Reads the vehicles that were invisible to the read that returned `since`, in any order. `None` if that cannot be known,
    /// because the server is another one, has been restarted, or has lost transactions in a failover: all vehicles must be read.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn changed(&self, since: &Horizon) -> Result<Option<Look>, StoreError> {
        let known: Vec<_> = since.known.iter().map(u32::to_string).collect();
        let mut look = self.read(&self.changed, &[&since.xmin.to_string(), &known.join(",")]).await?;
        let continues = look.horizon.server == since.server && look.horizon.xmin >= since.xmin;
        let transactions =
            look.rows.iter().filter_map(|row| row.get::<_, Option<&str>>("transaction")?.parse().ok());
        look.horizon.know(since.known.iter().copied().chain(transactions));
        Ok(continues.then_some(look))
    }

    /// Reads the next vehicles by id, the first ones behind [`Uuid::nil`]. There are no others if none is found. The horizon of the
    /// first of these reads is that of all of them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(&self, after: Uuid) -> Result<Look, StoreError> {
        self.read(&self.page, &[&after]).await
    }

    async fn read(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Look, StoreError> {
        let mut rows = self.database.query(statement, parameters).await?;
        let first = rows.first().ok_or(StoreError::NoRow)?;
        let (xmin, vehicles): (&str, i64) = (first.get("horizon"), first.get("vehicles"));
        let horizon = Horizon {
            xmin: xmin.parse().map_err(|_not_a_number| StoreError::NoRow)?,
            server: first.get("server"),
            known: Vec::new(),
        };
        let behind = Duration::try_from_secs_f64(first.get("behind_s")).unwrap_or_default();
        let vehicles = usize::try_from(vehicles).unwrap_or_default();
        rows.retain(|row| row.get::<_, Option<Uuid>>("vehicle_id").is_some());
        Ok(Look { horizon, vehicles, behind, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_transactions_are_known() {
        let mut horizon = Horizon { xmin: (7 << 32) + 10, server: String::new(), known: Vec::new() };
        horizon.know([12, 9, 10, 12, u32::MAX].into_iter());
        assert_eq!(horizon.known, [10, 12]);
        // Their numbers have begun again.
        horizon.xmin = (7 << 32) + u64::from(u32::MAX) - 1;
        horizon.know([12, u32::MAX, u32::MAX - 2].into_iter());
        assert_eq!(horizon.known, [12, u32::MAX]);
        horizon.xmin = 0;
        horizon.know(0..u32::try_from(MAX_KNOWN).unwrap() + 5);
        assert_eq!(horizon.known.len(), MAX_KNOWN);
    }
}

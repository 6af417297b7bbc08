//! Reads what has changed in `vehicles` since the previous read, without an index, a trigger or a notification.
//!
//! A read remembers the oldest transaction that was running at its moment. Whatever was invisible to it was written by that
//! transaction or a later one. So the next read asks for the rows whose `xmin`, the transaction that wrote the row, is not older. It
//! misses nothing, in whatever order transactions commit. It sees some rows twice, which the caller can compare.
//!
//! `age()` compares transactions correctly when their 32-bit numbers wrap around. A row that has been unchanged for two billion
//! transactions may look new, which does no harm.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::vehicle_row::{FIELDS, StoredVehicle};
use crate::{Database, StoreError};

/// One scan for the rows, and one for their number: every row is known to the caller after it has applied the changes, so a
/// different number means that rows were deleted. The join returns one row if nothing has changed.
const LOOK: &str = "WITH look AS MATERIALIZED (
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
               concat_ws(' ', pg_postmaster_start_time(), inet_server_addr(), inet_server_port(),
                         pg_is_in_recovery(), current_database()) AS server,
               (SELECT count(*) FROM vehicles) AS vehicles)
 SELECT look.horizon, look.server, look.vehicles, v.provider, ";

/// The parameter is a horizon, or null for all rows.
const CHANGED: &str = " FROM look LEFT JOIN vehicles v
     ON $1::text IS NULL OR age(v.xmin) <= age(($1::text)::xid8::xid)";

/// From where the next read goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The oldest transaction that was running, 64 bits wide.
    xmin: u64,
    /// The server process. The numbers of another server's transactions mean nothing here.
    server: String,
}

/// What a read has found.
#[derive(Clone, Debug)]
pub struct Look {
    /// From where the next read goes on.
    pub horizon: Horizon,
    /// How many vehicles there are.
    pub vehicles: usize,
    /// Whether `changed` has every vehicle.
    pub is_complete: bool,
    /// The vehicles that may have changed, each once.
    changed: Vec<Row>,
}

/// A vehicle and its provider.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundVehicle {
    /// The provider's slug.
    pub provider: String,
    /// The row.
    pub vehicle: StoredVehicle,
}

impl Look {
    /// How many vehicles may have changed.
    pub fn len(&self) -> usize {
        self.changed.len()
    }

    /// Whether no vehicle has changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The vehicles that may have changed, each once, in any order. They are decoded one by one, so that the caller can pause.
    pub fn changed(&self) -> impl Iterator<Item = FoundVehicle> {
        self.changed
            .iter()
            .map(|row| FoundVehicle { provider: row.get("provider"), vehicle: StoredVehicle::from(row) })
    }
}

/// Reads `vehicles` again and again.
#[derive(Clone, Debug)]
pub struct Lookout {
    database: Database,
    statement: String,
}

impl Lookout {
    /// Reads in `database`.
    pub fn new(database: Database) -> Self {
        let columns: Vec<_> = FIELDS.iter().map(|(name, _type)| format!("v.{name}")).collect();
        Self { database, statement: format!("{LOOK}{}{CHANGED}", columns.join(", ")) }
    }

    /// Reads the vehicles that were invisible to the read that returned `since`, or all vehicles. It reads all of them also if
    /// the server is another one, has been restarted, or has lost transactions in a failover.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn look(&self, since: Option<&Horizon>) -> Result<Look, StoreError> {
        let Some(since) = since else { return self.read(None).await };
        let look = self.read(Some(since.xmin)).await?;
        let continues = look.horizon.server == since.server && look.horizon.xmin >= since.xmin;
        if continues { Ok(look) } else { self.read(None).await }
    }

    async fn read(&self, since: Option<u64>) -> Result<Look, StoreError> {
        let text = since.map(|xmin| xmin.to_string());
        let parameters: [&(dyn ToSql + Sync); 1] = [&text];
        let mut changed = self.database.query(&self.statement, &parameters).await?;
        let first = changed.first().ok_or(StoreError::NoRow)?;
        let (xmin, vehicles): (&str, i64) = (first.get("horizon"), first.get("vehicles"));
        let horizon = Horizon {
            xmin: xmin.parse().map_err(|_not_a_number| StoreError::NoRow)?,
            server: first.get("server"),
        };
        let vehicles = usize::try_from(vehicles).unwrap_or_default();
        changed.retain(|row| row.get::<_, Option<Uuid>>("vehicle_id").is_some());
        Ok(Look { horizon, vehicles, is_complete: since.is_none(), changed })
    }
}

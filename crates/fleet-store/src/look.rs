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

/// What every read says besides the rows: the horizon, the server, and how many rows there are. Every row is known to the caller
/// after it has applied the changes, so a different number means that rows were deleted.
const LOOK: &str = "WITH look AS MATERIALIZED (
        SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon,
               concat_ws(' ', pg_postmaster_start_time(), inet_server_addr(), inet_server_port(),
                         pg_is_in_recovery(), current_database()) AS server,
               (SELECT count(*) FROM vehicles) AS vehicles)
 SELECT look.horizon, look.server, look.vehicles, v.provider, ";

/// The rows that are not older than a horizon. The join returns one row if there are none.
const CHANGED: &str = " FROM look LEFT JOIN vehicles v ON age(v.xmin) <= age(($1::text)::xid8::xid)";

/// The next rows by id, so that a whole table is never in memory.
const PAGE: &str = " FROM look LEFT JOIN
     (SELECT * FROM vehicles WHERE vehicle_id > $1 ORDER BY vehicle_id LIMIT 5000) v ON true";

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
        let look = self.read(&self.changed, &since.xmin.to_string()).await?;
        let continues = look.horizon.server == since.server && look.horizon.xmin >= since.xmin;
        Ok(continues.then_some(look))
    }

    /// Reads the next vehicles by id, the first ones behind [`Uuid::nil`]. There are no others if none is found. The horizon of the
    /// first of these reads is that of all of them.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn page(&self, after: Uuid) -> Result<Look, StoreError> {
        self.read(&self.page, &after).await
    }

    async fn read(&self, statement: &str, parameter: &(dyn ToSql + Sync)) -> Result<Look, StoreError> {
        let mut rows = self.database.query(statement, &[parameter]).await?;
        let first = rows.first().ok_or(StoreError::NoRow)?;
        let (xmin, vehicles): (&str, i64) = (first.get("horizon"), first.get("vehicles"));
        let horizon = Horizon {
            xmin: xmin.parse().map_err(|_not_a_number| StoreError::NoRow)?,
            server: first.get("server"),
        };
        let vehicles = usize::try_from(vehicles).unwrap_or_default();
        rows.retain(|row| row.get::<_, Option<Uuid>>("vehicle_id").is_some());
        Ok(Look { horizon, vehicles, rows })
    }
}

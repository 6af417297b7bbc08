//! The last observed state of the queues, stored outside of Redis to detect data loss in Redis.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Database, StoreError};

/// The queues whose names begin with a prefix.
pub const READ_WITNESSES: &str = "SELECT queue, look, looked_at, accepted, settled, missing, missing_since \
                                    FROM queue_witnesses WHERE starts_with(queue, $1)";

/// Stores an observation, unless another consumer has stored one since the row was read.
pub const NOTE_WITNESS: &str = "\
INSERT INTO queue_witnesses AS w (queue, look, looked_at, accepted, settled, missing, missing_since)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (queue) DO UPDATE
   SET look = excluded.look, looked_at = excluded.looked_at, accepted = excluded.accepted, settled = excluded.settled,
       missing = w.missing + excluded.missing, missing_since = coalesce(w.missing_since, excluded.missing_since)
 WHERE (w.look, w.looked_at) = ($8, $9)";

/// The last observation of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueWitness {
    /// Name of the queue with its key prefix, such as `fleet:{niu}`.
    pub queue: String,
    /// Number of the last observation. Redis counts the observations.
    pub look: i64,
    /// When it was observed.
    pub looked_at: Timestamp,
    /// Messages that the queue has ever accepted, according to the ledger in Redis.
    pub accepted: i64,
    /// Messages that were ever settled, according to the ledger in Redis.
    pub settled: i64,
    /// Upper bound of the accepted messages that Redis has lost before they were settled. Counts messages that were
    /// accepted at the last observation before each loss. For [`WitnessStore::note`], the increase.
    pub missing: i64,
    /// When the queue was last observed without a loss, if messages are missing.
    pub missing_since: Option<Timestamp>,
}

/// The table `queue_witnesses` of the state database.
#[derive(Clone, Debug)]
pub struct WitnessStore {
    database: Database,
}

impl WitnessStore {
    /// A store in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The queues whose names begin with `prefix`.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn read(&self, prefix: &str) -> Result<Vec<QueueWitness>, StoreError> {
        let rows = self.database.query(READ_WITNESSES, &[&prefix]).await?;
        Ok(rows.iter().map(witness).collect())
    }

    /// Stores an observation if the row is still `known`. Otherwise another consumer was faster, and nothing is
    /// stored.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn note(&self, look: &QueueWitness, known: Option<&QueueWitness>) -> Result<(), StoreError> {
        let QueueWitness { queue, look, looked_at, accepted, settled, missing, missing_since } = look;
        let (last_look, last_looked_at) = known.map(|known| (known.look, known.looked_at)).unzip();
        let parameters: [&(dyn ToSql + Sync); 9] =
            [queue, look, looked_at, accepted, settled, missing, missing_since, &last_look, &last_looked_at];
        self.database.query(NOTE_WITNESS, &parameters).await?;
        Ok(())
    }

    /// Resets the missing messages of the queues whose names begin with `prefix`. Returns the queues that had missing
    /// messages, as they were before.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`].
    pub async fn accept_loss(&self, prefix: &str) -> Result<Vec<QueueWitness>, StoreError> {
        let statement = "WITH lost AS (SELECT * FROM queue_witnesses WHERE starts_with(queue, $1) AND missing > 0 FOR UPDATE), \
                         known AS (UPDATE queue_witnesses AS w SET missing = 0, missing_since = NULL \
                                     FROM lost WHERE w.queue = lost.queue) \
                         SELECT queue, look, looked_at, accepted, settled, missing, missing_since FROM lost";
        let rows = self.database.query(statement, &[&prefix]).await?;
        Ok(rows.iter().map(witness).collect())
    }
}

fn witness(row: &Row) -> QueueWitness {
    QueueWitness {
        queue: row.get(0),
        look: row.get(1),
        looked_at: row.get(2),
        accepted: row.get(3),
        settled: row.get(4),
        missing: row.get(5),
        missing_since: row.get(6),
    }
}

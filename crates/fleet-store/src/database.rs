//! A bounded pool of connections to one database.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, Timeouts};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::cancel::Canceller;
use crate::connector::Connector;
use crate::{DatabaseOptions, StoreError};

/// Settings of one transaction: avoid plans that read more of a chunk than the wanted rows. PostgreSQL gives
/// unavoidable steps an immense cost, which would make it compile the plan of every page, so compilation is off as
/// well.
const BY_INDEX: &str = "SET LOCAL jit = off; SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Settings of one transaction: read the rows of some vehicles, and join them. A compressed chunk has an index on the vehicle
/// and none on the time or the event. Only a hash join takes time in proportion to the rows there.
const BY_VEHICLE: &str = "SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL enable_mergejoin = off";

/// Settings of one transaction: use the index on received_at in every chunk, even without statistics. Compiling a
/// plan for ninety chunks takes longer than running it.
const BY_RECEIPT: &str = "SET LOCAL jit = off; SET LOCAL enable_seqscan = off; \
     SET LOCAL max_parallel_workers_per_gather = 0";

/// How busy a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Connections that run a statement.
    pub in_use: usize,
    /// Open connections, including idle ones.
    pub open: usize,
    /// The maximum number of connections.
    pub max: usize,
    /// Tasks that wait for a connection.
    pub waiting: usize,
}

/// One database; clones share its pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Connector>,
    canceller: Canceller,
    statement_timeout: Duration,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        formatter.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Database {
    /// Prepares a pool. It connects on first use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if the URL cannot be parsed, [`StoreError::Tls`] if its CAs cannot be read.
    pub fn open(options: &DatabaseOptions<'_>) -> Result<Self, StoreError> {
        let (hosts, tls) = options.hosts()?;
        let DatabaseOptions { pool_size, connect_timeout, statement_timeout, .. } = *options;
        // The server cancels a slow statement itself. This timeout is for a network that swallows its response.
        let statement_timeout = statement_timeout + connect_timeout;
        let wait = Some(connect_timeout);
        let canceller = Canceller::new(tls.clone(), pool_size, connect_timeout);
        let pool = Pool::builder(Connector { hosts, tls, longest_statement: statement_timeout })
            .max_size(pool_size)
            // The hosts share the timeout for a new connection among themselves.
            .timeouts(Timeouts { wait, create: None, recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Pool(error.to_string()))?;
        Ok(Self { pool, canceller, statement_timeout })
    }

    /// How busy the pool is.
    pub fn pool_usage(&self) -> PoolUsage {
        let status = self.pool.status();
        PoolUsage {
            in_use: status.size.saturating_sub(status.available),
            open: status.size,
            max: status.max_size,
            waiting: status.waiting,
        }
    }

    /// Whether both share one pool. Metrics show a shared pool once.
    pub fn shares_pool_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.pool.manager(), other.pool.manager())
    }

    /// Runs one statement as a transaction of its own. Prepares it once per connection.
    ///
    /// The statement runs twice if the first connection turns out to be broken, so it must be idempotent. If the
    /// caller drops the future, the connection is closed and the server is asked to cancel the statement.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]. Nothing is stored then, unless only the response was lost.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(Statement::Prepared { statement, parameters }).await
    }

    /// Runs one statement in a transaction that is rolled back.
    ///
    /// # Errors
    ///
    /// As [`Database::query`].
    pub(crate) async fn rehearse(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), StoreError> {
        self.run(Statement::Rehearsed { statement, parameters }).await.map(drop)
    }

    /// The first row of the result; otherwise as [`Database::query`].
    ///
    /// # Errors
    ///
    /// As [`Database::query`]; [`StoreError::NoRow`] if there is none.
    pub(crate) async fn query_one(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        self.query(statement, parameters).await?.into_iter().next().ok_or(StoreError::NoRow)
    }

    /// Runs one statement as a transaction of its own, with a plan for these parameters that uses only indexes. A
    /// generic plan would search every chunk, and a plan for a chunk without statistics would sort the whole chunk
    /// for every page.
    ///
    /// # Errors
    ///
    /// As [`Database::query`].
    pub(crate) async fn query_by_index(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(Statement::Planned { settings: BY_INDEX, statement, parameters }).await
    }

    /// As [`Database::query_by_index`], for a join with the rows of some vehicles.
    ///
    /// # Errors
    ///
    /// As [`Database::query`].
    pub(crate) async fn query_by_vehicle(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(Statement::Planned { settings: BY_VEHICLE, statement, parameters }).await
    }

    /// As [`Database::query_by_index`], for conditions on the time of receipt.
    ///
    /// # Errors
    ///
    /// As [`Database::query`].
    pub(crate) async fn query_by_receipt(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(Statement::Planned { settings: BY_RECEIPT, statement, parameters }).await
    }

    /// Every statement of a pool goes through here.
    ///
    /// The server, an administrator or a load balancer may have closed an idle connection, it may hold plans for an
    /// older schema, or its server may have become a standby. If a statement fails for this reason, it is retried at
    /// once on a new connection. The other idle connections are likely to be broken as well and are closed. They are
    /// closed too if the server does not respond.
    async fn run(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        let mut repeats = 0;
        loop {
            let object = self.pool.get().await?;
            let busy = Busy { object: Some(object), awaits_answer: false, canceller: &self.canceller };
            let may_be_stale = busy.was_idle() && repeats == 0;
            match self.run_on(busy, statement).await {
                Err(error) if may_be_stale && error.blames_connection() => {
                    tracing::debug!(%error, "an idle connection was broken: retrying the statement on a new one");
                    self.pool.retain(|_connection, _metrics| false);
                    repeats += 1;
                }
                Err(error @ StoreError::Timeout(_)) => {
                    self.pool.retain(|_connection, _metrics| false);
                    return Err(error);
                }
                result => return result,
            }
        }
    }

    async fn run_on(&self, mut busy: Busy<'_>, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        let result = tokio::time::timeout(self.statement_timeout, busy.run(statement)).await;
        let result = result.unwrap_or(Err(StoreError::Timeout(self.statement_timeout)));
        if result.as_ref().map_or_else(StoreError::leaves_session_clean, |_rows| true) {
            busy.give_back();
        }
        result
    }
}

/// What runs on a connection.
#[derive(Clone, Copy)]
enum Statement<'a> {
    /// Prepared once per connection.
    Prepared { statement: &'a str, parameters: &'a [&'a (dyn ToSql + Sync)] },
    /// Prepared once per connection, and rolled back.
    Rehearsed { statement: &'a str, parameters: &'a [&'a (dyn ToSql + Sync)] },
    /// Planned for its parameters, with settings of its own: see [`Database::query_by_index`].
    Planned { settings: &'static str, statement: &'a str, parameters: &'a [(&'a (dyn ToSql + Sync), Type)] },
}

/// A connection that runs a statement. If it is dropped before the statement has ended cleanly (because the caller
/// dropped the future, or after a timeout), it is closed and not returned to the pool. If the server has not
/// responded, it is asked to cancel the statement.
struct Busy<'a> {
    object: Option<Object<Connector>>,
    /// The server has not responded, and may still run the statement.
    awaits_answer: bool,
    canceller: &'a Canceller,
}

impl Busy<'_> {
    /// Whether it was in the pool before.
    fn was_idle(&self) -> bool {
        self.object.as_ref().is_some_and(|object| Object::metrics(object).recycle_count > 0)
    }

    async fn run(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        self.awaits_answer = true;
        let result = self.answer(statement).await;
        if result.is_ok() && self.object.as_ref().is_some_and(|object| object.take_unreplicated()) {
            self.awaits_answer = false;
            return Err(StoreError::Unreplicated);
        }
        // If the error does not come from the server, the connection may be broken while the server still runs the
        // statement.
        self.awaits_answer = result.as_ref().is_err_and(|error| !error.is_of_server());
        result
    }

    async fn answer(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        let Some(connection) = &mut self.object else { return Err(StoreError::NoRow) };
        let client = &mut connection.client;
        match statement {
            Statement::Prepared { statement, parameters } => {
                let statement = client.prepare_cached(statement).await?;
                Ok(client.query(&statement, parameters).await?)
            }
            Statement::Rehearsed { statement, parameters } => rehearsed(client, statement, parameters).await,
            Statement::Planned { settings, statement, parameters } => {
                planned(client, settings, statement, parameters).await
            }
        }
    }

    fn give_back(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let connection = Object::take(object);
        if self.awaits_answer {
            self.canceller.abandon(connection.client);
        }
    }
}

async fn rehearsed(
    client: &mut ClientWrapper,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let transaction = client.transaction().await?;
    let statement = transaction.prepare_cached(statement).await?;
    let rows = transaction.query(&statement, parameters).await?;
    transaction.rollback().await?;
    Ok(rows)
}

async fn planned(
    client: &mut ClientWrapper,
    settings: &str,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, StoreError> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(settings).await?;
    let rows = transaction.query_typed(statement, parameters).await?;
    transaction.commit().await?;
    Ok(rows)
}

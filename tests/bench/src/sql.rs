//! A database connection for synchronous code.

use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::failure::Failure;

/// How many bytes PostgreSQL has written to its log so far.
pub(crate) const LOG_POSITION: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8";

/// A connection. Its own runtime drives it during a call.
pub(crate) struct Sql {
    client: Client,
    runtime: Runtime,
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sql").finish_non_exhaustive()
    }
}

impl Sql {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let runtime = crate::runtime::current_thread()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        runtime.spawn(async move {
            // The next query reports the error.
            drop(connection.await);
        });
        Ok(Self { client, runtime })
    }

    /// Runs a statement.
    pub(crate) fn run(&self, statement: &str) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.client.batch_execute(statement))?)
    }

    /// Prepares a statement that runs repeatedly.
    pub(crate) fn prepare(&self, statement: &str) -> Result<Statement, Failure> {
        Ok(self.runtime.block_on(self.client.prepare(statement))?)
    }

    /// Runs a prepared statement and returns the number of rows that it changed or found.
    pub(crate) fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        Ok(self.runtime.block_on(self.client.execute(statement, parameters))?)
    }

    /// The rows of a query.
    pub(crate) fn rows(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        Ok(self.runtime.block_on(self.client.query(query, parameters))?)
    }

    /// The single number that a query returns.
    pub(crate) fn number(&self, query: &str) -> Result<i64, Failure> {
        let rows = self.rows(query, &[])?;
        let row = rows.first().ok_or_else(|| Failure::measurement(format!("no row: {query}")))?;
        Ok(row.try_get(0)?)
    }

    /// The single text that a query returns.
    pub(crate) fn text(&self, query: &str) -> Result<String, Failure> {
        let rows = self.rows(query, &[])?;
        let row = rows.first().ok_or_else(|| Failure::measurement(format!("no row: {query}")))?;
        Ok(row.try_get(0)?)
    }

    /// The pid of this connection's server process.
    pub(crate) fn backend_pid(&self) -> Result<u32, Failure> {
        let pid = self.number("SELECT pg_backend_pid()::int8")?;
        u32::try_from(pid).map_err(|_| Failure::measurement("PostgreSQL's process id is out of range"))
    }

    /// The total numbers of committed transactions and of deadlocks in this database.
    pub(crate) fn transactions(&self) -> Result<(i64, i64), Failure> {
        let query = "SELECT xact_commit, deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let rows = self.rows(query, &[])?;
        let row = rows.first().ok_or_else(|| Failure::measurement("the database has no statistics"))?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

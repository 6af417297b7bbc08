//! A bounded pool of connections to one database.

use std::path::Path;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::TlsParameters;
use crate::{ErrorClass, StoreError};

/// For one transaction: no plan that reads more of a chunk than the rows it wants, if there is another. What cannot be
/// avoided counts as immensely expensive, for which PostgreSQL would compile every page's plan: not that either.
const BY_INDEX: &str = "SET LOCAL jit = off; SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; \
     SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Bounds of a [`Database`].
#[derive(Clone, Copy, Debug)]
pub struct DatabaseSettings {
    /// Most connections.
    pub pool_size: usize,
    /// How long to wait for a connection, a new one included.
    pub connect_timeout: Duration,
    /// Most time for one statement; the server cancels it then.
    pub statement_timeout: Duration,
}

/// How busy a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Connections at work.
    pub in_use: usize,
    /// Connections open, idle ones included.
    pub open: usize,
    /// Most connections.
    pub max: usize,
    /// Tasks that wait for a connection.
    pub waiting: usize,
}

/// One database; clones share its pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    statement_timeout: Duration,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        formatter.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Database {
    /// As [`Database::trusting`] the system's CAs.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if the URL cannot be parsed, [`StoreError::Tls`] if its CAs cannot be read.
    pub fn new(url: &str, settings: DatabaseSettings) -> Result<Self, StoreError> {
        Self::trusting(None, url, settings)
    }

    /// Prepares a pool for `url`; connects on first use. `sslmode` and `sslrootcert` in the URL say how the connections
    /// are encrypted; the CAs in the PEM file `ca_file` are trusted where the URL names none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if the URL cannot be parsed, [`StoreError::Tls`] if its CAs cannot be read.
    pub fn trusting(
        ca_file: Option<&Path>,
        url: &str,
        settings: DatabaseSettings,
    ) -> Result<Self, StoreError> {
        let (config, tls) = session_config(ca_file, url, settings)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeout = Some(settings.connect_timeout);
        let pool = Pool::builder(Manager::from_config(config, tls, recycling))
            .max_size(settings.pool_size)
            .timeouts(Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Pool(error.to_string()))?;
        // The server cancels a statement by itself; this is for a network that swallows its answer.
        let statement_timeout = settings.statement_timeout + settings.connect_timeout;
        Ok(Self { pool, statement_timeout })
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

    /// Whether both are one pool, so that it is shown once.
    pub fn shares_pool_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.pool.manager(), other.pool.manager())
    }

    /// A connection of the pool.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of class `Unavailable` if there is none in time.
    pub async fn connection(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Prepares (once a connection) and runs one statement, which is a transaction of its own.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing of it is stored, unless the answer was lost.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection().await?;
        let run = async {
            let statement = connection.prepare_cached(statement).await?;
            Ok::<_, StoreError>(connection.query(&statement, parameters).await?)
        };
        let result = self.in_time(run).await;
        give_back(connection, &result);
        result
    }

    /// Runs one statement, a transaction of its own, by indexes alone and planned for just these values: a plan for any
    /// values would look into every chunk, and one for a chunk without statistics sorts all of it for every page.
    ///
    /// # Errors
    ///
    /// As [`Database::query`].
    pub(crate) async fn query_by_index(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.connection().await?;
        let run = async {
            let transaction = connection.transaction().await?;
            transaction.batch_execute(BY_INDEX).await?;
            let rows = transaction.query_typed(statement, parameters).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(rows)
        };
        let result = self.in_time(run).await;
        give_back(connection, &result);
        result
    }

    async fn in_time<T>(&self, run: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let result = tokio::time::timeout(self.statement_timeout, run).await;
        result.unwrap_or(Err(StoreError::Timeout(self.statement_timeout)))
    }
}

/// Gives a connection back to its pool, unless it has failed.
fn give_back<T>(connection: Object, result: &Result<T, StoreError>) {
    if let Err(error) = result
        && error.class() == ErrorClass::Unavailable
    {
        discard(connection);
    }
}

/// Closes a connection instead of giving it back: it may still be waiting for an answer.
fn discard(connection: Object) {
    drop(Object::take(connection));
}

/// The session's settings travel in the start-up message, so that no connection is ever without them.
pub(crate) fn session_config(
    ca_file: Option<&Path>,
    url: &str,
    settings: DatabaseSettings,
) -> Result<(Config, MakeRustlsConnect), StoreError> {
    let parameters = TlsParameters::take(url, ca_file.is_some())?;
    let mut config: Config = parameters.url.parse().map_err(|error: tokio_postgres::Error| {
        // Its cause may quote the URL, and with it the password.
        StoreError::Url(error.to_string())
    })?;
    let timeout_ms = settings.statement_timeout.as_millis();
    let own = format!(
        "-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={timeout_ms} \
         -c synchronous_commit=on -c timezone=UTC"
    );
    let options = config.get_options().map_or_else(|| own.clone(), |given| format!("{own} {given}"));
    config.options(options);
    if config.get_application_name().is_none() {
        config.application_name("fleet-consumer");
    }
    config.connect_timeout(settings.connect_timeout);
    config.keepalives_idle(Duration::from_secs(30));
    config.tcp_user_timeout(settings.statement_timeout);
    config.ssl_mode(parameters.mode);
    Ok((config, parameters.connector(ca_file)?))
}

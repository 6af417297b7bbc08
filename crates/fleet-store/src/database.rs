//! A bounded pool of connections to one database.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts, Transaction,
};
use tokio_postgres::{Config, NoTls};

use crate::{ErrorClass, StoreError};

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

/// One database; clones share its pool.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    transaction_timeout: Duration,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        formatter.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Database {
    /// Prepares a pool for `url`; connects on first use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] if the URL cannot be parsed.
    pub fn new(url: &str, settings: DatabaseSettings) -> Result<Self, StoreError> {
        let config = session_config(url, settings)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let timeout = Some(settings.connect_timeout);
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling))
            .max_size(settings.pool_size)
            .timeouts(Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Pool(error.to_string()))?;
        // The server cancels a statement by itself; this is for a network that swallows its answer.
        let transaction_timeout = settings.statement_timeout * 2 + settings.connect_timeout;
        Ok(Self { pool, transaction_timeout })
    }

    /// Connections in use and open.
    pub fn pool_usage(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size - status.available.min(status.size), status.size)
    }

    /// A connection of the pool.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of class `Unavailable` if there is none in time.
    pub async fn connection(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// Runs `work` in a transaction and commits it.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; then nothing of it is stored, unless the commit's answer was lost.
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection().await?;
        let run = async {
            let transaction = connection.transaction().await?;
            let value = work(&transaction).await?;
            transaction.commit().await?;
            Ok::<T, StoreError>(value)
        };
        let result = tokio::time::timeout(self.transaction_timeout, run).await;
        match result {
            Ok(Err(error)) if error.class() == ErrorClass::Unavailable => {
                discard(connection);
                Err(error)
            }
            Ok(result) => result,
            Err(_elapsed) => {
                discard(connection);
                Err(StoreError::Timeout(self.transaction_timeout))
            }
        }
    }
}

/// Closes a connection instead of giving it back: it may still be waiting for an answer.
fn discard(connection: Object) {
    drop(Object::take(connection));
}

/// The session's settings travel in the start-up message, so that no connection is ever without them.
pub(crate) fn session_config(url: &str, settings: DatabaseSettings) -> Result<Config, StoreError> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
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
    Ok(config)
}

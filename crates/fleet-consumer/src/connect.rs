//! Opens Redis and the databases that the settings name.

use std::sync::Arc;

use fleet_queue::{Queue, QueueError, RedisLink};
use fleet_runtime::settings::{ConnectionUrl, Settings, SettingsError};
use fleet_store::{Database, DatabaseOptions, StoreError};

use crate::database_kind::DatabaseKind;

/// Both databases. If the settings name only one, they share a pool.
#[derive(Clone, Debug)]
pub struct Databases {
    /// The database of `vehicles`.
    pub state: Database,
    /// The database of `telemetry` and `dead_letters`.
    pub telemetry: Database,
}

impl Databases {
    /// One of them.
    pub(crate) fn of(&self, kind: DatabaseKind) -> &Database {
        match kind {
            DatabaseKind::State => &self.state,
            DatabaseKind::Telemetry => &self.telemetry,
        }
    }

    /// Prepares the pools, without connecting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`].
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        let state = Database::open(&options(settings, &settings.database_url))?;
        let telemetry = match &settings.telemetry_database_url {
            Some(url) if *url != settings.database_url => Database::open(&options(settings, url))?,
            Some(_) | None => state.clone(),
        };
        Ok(Self { state, telemetry })
    }
}

/// A connection to the Redis that has this queue.
///
/// # Errors
///
/// [`QueueError::Url`] or [`QueueError::Trust`].
pub(crate) fn redis_link(settings: &Settings, queue: Queue) -> Result<Arc<RedisLink>, QueueError> {
    let keys = queue.keys(&settings.queue.prefix);
    RedisLink::open(&settings.redis().for_queue(&keys)).map(Arc::new)
}

/// Checks every URL that the consumer needs, without connecting.
///
/// # Errors
///
/// All invalid URLs at once.
pub fn check(settings: &Settings) -> Result<(), SettingsError> {
    let mut errors = settings.redis().problems();
    let state = Some(("FLEET_DATABASE_URL", &settings.database_url));
    let telemetry = settings.telemetry_database_url.as_ref().map(|url| ("FLEET_TELEMETRY_DATABASE_URL", url));
    for (variable, url) in state.into_iter().chain(telemetry) {
        if let Err(error) = Database::open(&options(settings, url)) {
            errors.push(format!("{variable}: {error}"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(SettingsError(errors)) }
}

/// How to reach the database at `url`.
pub fn options<'a>(settings: &'a Settings, url: &'a ConnectionUrl) -> DatabaseOptions<'a> {
    DatabaseOptions {
        ca_file: settings.tls.ca_file.as_deref(),
        pool_size: settings.database.pool_size,
        connect_timeout: settings.database.connect_timeout,
        statement_timeout: settings.database.statement_timeout,
        ..DatabaseOptions::new(url.expose())
    }
}

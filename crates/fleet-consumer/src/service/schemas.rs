//! Waits for the schemas at startup.

use std::time::{Duration, Instant};

use fleet_runtime::outage::{Failing, OutageLog, Over};
use fleet_runtime::settings::ConsumerSettings;
use fleet_store::{Database, Schema, StoreError};
use tokio::task::JoinSet;

use crate::connect::Databases;
use crate::write::database_health::DatabasesHealth;

/// How long the consumer waits for the second database before it writes to the first one alone.
const GRACE: Duration = Duration::from_secs(5);

/// The schemas that are not there yet.
#[derive(Debug)]
pub(crate) struct Schemas {
    waiting: JoinSet<Result<(), StoreError>>,
}

impl Schemas {
    /// Starts to wait for both. A database gets batches only once its schema is there.
    pub(crate) fn look(databases: &Databases, health: &DatabasesHealth, settings: &ConsumerSettings) -> Self {
        let mut waiting = JoinSet::new();
        let databases_to_check = [
            (&databases.state, Schema::State, &health.state),
            (&databases.telemetry, Schema::Telemetry, &health.telemetry),
        ];
        for (database, schema, health) in databases_to_check {
            let (database, health, settings) = (database.clone(), health.clone(), settings.clone());
            waiting.spawn(async move {
                wait_for_schema(&database, schema, &settings).await?;
                health.set_ready();
                Ok(())
            });
        }
        Self { waiting }
    }

    /// Waits for one schema, and for a short time for the other one.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that a retry cannot help.
    pub(crate) async fn first(&mut self) -> Result<(), StoreError> {
        self.next().await?;
        tokio::time::timeout(GRACE, self.next()).await.unwrap_or(Ok(()))
    }

    /// Waits for the schemas that are left.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] that a retry cannot help.
    pub(crate) async fn rest(mut self) -> Result<(), StoreError> {
        while !self.waiting.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<(), StoreError> {
        match self.waiting.join_next().await {
            Some(Ok(found)) => found,
            Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            None => Ok(()),
        }
    }
}

async fn wait_for_schema(
    database: &Database,
    schema: Schema,
    settings: &ConsumerSettings,
) -> Result<(), StoreError> {
    let mut backoff = settings.retries().start();
    let (mut missing_log, mut outage) = (OutageLog::default(), OutageLog::default());
    loop {
        let looked = database.missing_migrations(schema).await;
        let now = Instant::now();
        if let Some(Over { failures, lasted }) = looked.as_ref().ok().and_then(|_found| outage.succeeded(now))
        {
            tracing::info!(?schema, failures, seconds = lasted.as_secs(), "the database is there");
        }
        match looked {
            Ok(missing) if missing.is_empty() => {
                if let Some(Over { lasted, .. }) = missing_log.succeeded(now) {
                    tracing::info!(?schema, seconds = lasted.as_secs(), "the schema is there");
                }
                return Ok(());
            }
            Ok(missing) => {
                if let Some(Failing { lasted, .. }) = missing_log.failed(now, 1) {
                    let seconds = lasted.as_secs();
                    tracing::warn!(
                        ?schema,
                        ?missing,
                        seconds,
                        "waiting for the schema: run fleet-consumer migrate"
                    );
                }
            }
            Err(error @ StoreError::Timescale(_)) => return Err(error),
            Err(error) => {
                if let Some(Failing { failures, lasted }) = outage.failed(now, 1) {
                    let seconds = lasted.as_secs();
                    tracing::warn!(?schema, failures, seconds, %error, "waiting for the database");
                }
            }
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

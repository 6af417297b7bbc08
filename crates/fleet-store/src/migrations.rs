//! Bringing a database to the schema this version needs.

use std::time::Duration;

use tokio_postgres::{Client, Row};

use crate::schema::Schema;
use crate::{Database, DatabaseOptions, StoreError, roles};

/// Runs after the telemetry migrations, whether or not there was one.
const TELEMETRY_POLICIES: &str = include_str!("../sql/telemetry_policies.sql");

/// Whether each chunk has the index. It is false after an interrupted run.
const RECEIPT_INDEX_IS_WHOLE: &str =
    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('telemetry_received_at')";
const DROP_RECEIPT_INDEX: &str = "DROP INDEX telemetry_received_at";
/// For `trace`. Rows are appended nearly in the order of receipt, which suits BRIN. With one transaction per chunk,
/// only the writes to one chunk wait at a time. It cannot be a migration: refinery would run it in a transaction,
/// which TimescaleDB refuses.
const CREATE_RECEIPT_INDEX: &str = "CREATE INDEX telemetry_received_at ON telemetry USING brin (received_at) \
     WITH (autosummarize = on, timescaledb.transaction_per_chunk)";

/// Serialises concurrent runs. Refinery takes no lock, so all but one of several runs would fail.
const LOCK: i64 = 0x0066_6c65_6574_0001;

/// Long enough for any migration of a large table.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A pooler may run the next statement in another session, which does not hold the lock.
const POOLED: &str = "a connection pooler drops the settings of the session, and a migration needs a session of \
                      its own; let `migrate` connect directly";

/// The oldest version of TimescaleDB that has the features of the schema.
const TIMESCALE: (u32, u32) = (2, 19);

const TIMESCALE_VERSION: &str = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";

/// Whether chunks are compressed after some days.
const COMPRESSION_IS_ON: &str = "SELECT compression_enabled AND EXISTS (
       SELECT FROM timescaledb_information.jobs
        WHERE jobs.hypertable_name = 'telemetry' AND proc_name = 'policy_compression')
   FROM timescaledb_information.hypertables WHERE hypertable_name = 'telemetry'";

/// The compressed chunks, if only another licence allows TimescaleDB to use them.
const UNUSABLE_CHUNKS: &str = "SELECT count(*) FROM timescaledb_information.chunks
  WHERE hypertable_name = 'telemetry' AND is_compressed
    AND current_setting('timescaledb.license', true) IS DISTINCT FROM 'timescale'";

/// Brings a database to the newest version of `schema` and returns what was missing, migrations and others. Safe to run at any
/// time, and in several processes at once.
///
/// A migration has a session of its own, and an hour for each statement, whatever the options say.
///
/// # Errors
///
/// [`StoreError`]; each migration is a transaction of its own.
pub async fn migrate(options: &DatabaseOptions<'_>, schema: Schema) -> Result<Vec<String>, StoreError> {
    let options = DatabaseOptions { statement_timeout: STATEMENT_TIMEOUT, ..*options };
    let (hosts, tls) = options.hosts()?;
    let (mut connection, session) = hosts.connect(&tls).await?;
    if !session.is_own {
        return Err(StoreError::Settings(POOLED.to_owned()));
    }
    // The lock ends with the session, whatever the result.
    migrate_locked(&mut connection.client, schema).await
}

async fn migrate_locked(client: &mut Client, schema: Schema) -> Result<Vec<String>, StoreError> {
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let report = schema.runner().run_async(client).await?;
    let mut applied: Vec<_> = report.applied_migrations().iter().map(ToString::to_string).collect();
    roles::grant(client, schema).await?;
    if schema == Schema::Telemetry {
        check_timescale(client.query_opt(TIMESCALE_VERSION, &[]).await?.as_ref())?;
        let was_on = compression_is_on(client).await?;
        client.batch_execute(TELEMETRY_POLICIES).await?;
        if !was_on && compression_is_on(client).await? {
            applied.push("compression of chunks after 7 days".to_owned());
        }
        if index_receipts(client).await? {
            applied.push("index telemetry_received_at".to_owned());
        }
    }
    Ok(applied)
}

async fn compression_is_on(client: &Client) -> Result<bool, StoreError> {
    let found = client.query_opt(COMPRESSION_IS_ON, &[]).await?;
    Ok(found.and_then(|row| row.get(0)).unwrap_or(false))
}

/// Creates the index unless it is there. Returns whether it was missing.
async fn index_receipts(client: &Client) -> Result<bool, StoreError> {
    let whole = client.query_opt(RECEIPT_INDEX_IS_WHOLE, &[]).await?;
    match whole.map(|row| row.get(0)) {
        Some(true) => return Ok(false),
        Some(false) => client.batch_execute(DROP_RECEIPT_INDEX).await?,
        None => {}
    }
    client.batch_execute(CREATE_RECEIPT_INDEX).await?;
    Ok(true)
}

impl Database {
    /// The migrations that this version needs and the database lacks. None if the database is ready. Also checks the
    /// version of TimescaleDB and its licence.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; [`StoreError::Timescale`] if the extension is too old, [`StoreError::Licence`] if it may not use its
    /// compressed chunks.
    pub async fn missing_migrations(&self, schema: Schema) -> Result<Vec<String>, StoreError> {
        let history = schema.history();
        let exists = self.query_one("SELECT to_regclass($1) IS NOT NULL", &[&history]).await?;
        let applied: Vec<i32> = if exists.get(0) {
            let rows = self.query(&format!("SELECT version FROM {history}"), &[]).await?;
            rows.iter().map(|row| row.get(0)).collect()
        } else {
            Vec::new()
        };
        let runner = schema.runner();
        let missing =
            runner.get_migrations().iter().filter(|migration| !applied.contains(&migration.version()));
        let missing: Vec<_> = missing.map(ToString::to_string).collect();
        if missing.is_empty() && schema == Schema::Telemetry {
            check_timescale(self.query(TIMESCALE_VERSION, &[]).await?.first())?;
            self.check_licence().await?;
        }
        Ok(missing)
    }

    /// # Errors
    ///
    /// [`StoreError::Licence`] if chunks are compressed that the licence of TimescaleDB does not cover.
    async fn check_licence(&self) -> Result<(), StoreError> {
        match self.query_one(UNUSABLE_CHUNKS, &[]).await?.get(0) {
            0 => Ok(()),
            chunks => Err(StoreError::Licence(chunks)),
        }
    }
}

fn check_timescale(installed: Option<&Row>) -> Result<(), StoreError> {
    let Some(row) = installed else {
        return Err(StoreError::Timescale(
            "the extension is not installed; run `fleet-consumer migrate`".to_owned(),
        ));
    };
    let version: String = row.get(0);
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < TIMESCALE {
        return Err(StoreError::Timescale(format!(
            "version {version} is installed; run `ALTER EXTENSION timescaledb UPDATE`"
        )));
    }
    Ok(())
}

//! Why a run could not be completed. A completed run that found a difference prints `FAILED` instead.

use std::path::PathBuf;

/// Why a run could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// The file with the broker's CA cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The broker's URL, or a name of a queue, cannot be used.
    #[error("--amqp-url and --amqp-queue: {0}")]
    Broker(String),
    /// PostgreSQL rejected the connection or a query.
    #[error("PostgreSQL ({database}): {}", with_causes(source))]
    Sql {
        /// `state` or `telemetry`.
        database: &'static str,
        /// The error of the driver.
        source: tokio_postgres::Error,
    },
    /// PostgreSQL did not respond in time.
    #[error("PostgreSQL ({database}): no response in time; check that it is reachable and not overloaded")]
    SqlTimeout {
        /// `state` or `telemetry`.
        database: &'static str,
    },
    /// Vehicles of the run exist in the database before it starts.
    #[error("{count} of the run's vehicles already exist in the database: choose another --seed than {seed}")]
    SeedUsed {
        /// How many.
        count: i64,
        /// The seed.
        seed: u64,
    },
    /// Redis rejected the connection or a command.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis did not respond in time.
    #[error("Redis: no response in time; check that it is reachable and not overloaded")]
    RedisTimeout,
    /// The report cannot be printed.
    #[error("cannot print the report: {0}")]
    Print(#[from] std::io::Error),
}

/// The driver's own text is only "db error". The details are in its source.
fn with_causes(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

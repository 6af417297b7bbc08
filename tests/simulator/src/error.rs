//! Why a run cannot be carried out; a run that was, but found a difference, is a `FAILED` report instead.

/// Why a run cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// PostgreSQL refuses the connection or a query.
    #[error("PostgreSQL ({database}): {}", with_causes(source))]
    Sql {
        /// `state` or `telemetry`.
        database: &'static str,
        /// What it said.
        source: tokio_postgres::Error,
    },
    /// PostgreSQL does not answer in time.
    #[error("PostgreSQL ({database}): no answer in time")]
    SqlTimeout {
        /// `state` or `telemetry`.
        database: &'static str,
    },
    /// The run's vehicles are in the database before it starts.
    #[error("{count} of the run's vehicles are in the database already: choose another --seed than {seed}")]
    SeedUsed {
        /// How many.
        count: i64,
        /// The seed.
        seed: u64,
    },
    /// Redis refuses the connection or a command.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis does not answer in time.
    #[error("Redis: no answer in time")]
    RedisTimeout,
    /// The report cannot be printed.
    #[error("cannot print the report: {0}")]
    Print(#[from] std::io::Error),
}

/// The driver's own text is only "db error"; what happened stands in its source.
fn with_causes(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

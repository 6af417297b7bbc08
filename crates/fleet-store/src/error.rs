//! What a failed transaction means for the batch.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use deadpool_postgres::PoolError;
use fleet_tls::TlsError;
use tokio_postgres::error::SqlState;

/// What to do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The database cannot do it now: try the whole transaction again later.
    Unavailable,
    /// The statement took too long: a smaller transaction may get through.
    TooSlow,
    /// The database refuses the data: find the row, and put it aside.
    Poison,
    /// A defect, or a schema this version does not know: stop, keep the lease, tell somebody.
    Fatal,
}

/// A transaction that was not committed, or of which it is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL, or the way there.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server refuses a connection, or cannot be reached. Whatever the reason, it says nothing about any data.
    #[error("{}", describe(.0))]
    Connect(tokio_postgres::Error),
    /// No connection could be had.
    #[error("no database connection: {0}; check the URL, the server and its connection limit")]
    Pool(String),
    /// No answer in time.
    #[error("the database did not answer within {0:?}; check that it is reachable and not overloaded")]
    Timeout(Duration),
    /// The URL or a setting of it cannot be used.
    #[error("the database URL is not valid: {0}; use postgres://user:password@host:port/database")]
    Url(String),
    /// There is nothing to check the server's certificate with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A migration failed.
    #[error("the migration failed: {0}; nothing of it was kept, run it again once the cause is gone")]
    Migration(String),
    /// TimescaleDB is missing or too old.
    #[error("TimescaleDB 2.19 or newer is needed in the telemetry database, but {0}")]
    Timescale(String),
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Connect(error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => Self::Pool(error.to_string()),
        }
    }
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Connect(_) | Self::Pool(_) | Self::Timeout(_) => ErrorClass::Unavailable,
            Self::Url(_) | Self::Tls(_) | Self::Migration(_) | Self::Timescale(_) => ErrorClass::Fatal,
            Self::Postgres(error) => match error.code() {
                Some(state) => classify(state.code()),
                None if is_handshake(error) => ErrorClass::Unavailable,
                None if is_too_large(error) => ErrorClass::Poison,
                None if is_network(error) => ErrorClass::Unavailable,
                None => ErrorClass::Fatal,
            },
        }
    }

    /// Every [`StoreError::label`] there is.
    pub const LABELS: [&str; 18] = [
        "08", "22", "23", "25", "28", "3D", "40", "53", "54", "55", "57", "58", "other", "tls", "io", "pool",
        "timeout", "setup",
    ];

    /// The first two characters of the SQLSTATE, if it is one of [`StoreError::LABELS`], or the kind of failure, for
    /// metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Postgres(error) | Self::Connect(error) => match error.code() {
                Some(state) => label(state.code()),
                None if is_handshake(error) => "tls",
                None => "io",
            },
            Self::Pool(_) => "pool",
            Self::Timeout(_) => "timeout",
            Self::Url(_) | Self::Tls(_) | Self::Migration(_) | Self::Timescale(_) => "setup",
        }
    }
}

fn label(state: &str) -> &'static str {
    StoreError::LABELS.into_iter().find(|label| state.get(..2) == Some(label)).unwrap_or("other")
}

/// Sorts a SQLSTATE; an unknown one is fatal, because guessing would either lose data or retry for ever.
fn classify(state: &str) -> ErrorClass {
    const TRANSIENT: [&str; 5] = ["3D000", "55P03", "25006", "25P03", "23505"];
    const TRANSIENT_CLASSES: [&str; 6] = ["08", "28", "40", "53", "57", "58"];
    const POISON_CLASSES: [&str; 3] = ["22", "23", "54"];
    let class = state.get(..2).unwrap_or_default();
    // TimescaleDB: too many compressed rows in the way of one transaction.
    const DECOMPRESSION_LIMIT: &str = "53400";
    if state == SqlState::QUERY_CANCELED.code() || state == DECOMPRESSION_LIMIT {
        ErrorClass::TooSlow
    } else if TRANSIENT.contains(&state) || TRANSIENT_CLASSES.contains(&class) {
        ErrorClass::Unavailable
    } else if POISON_CLASSES.contains(&class) {
        ErrorClass::Poison
    } else {
        ErrorClass::Fatal
    }
}

/// A certificate may be renewed, and a server's TLS be switched on, while we wait.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

/// The driver itself refuses to send what the protocol has no length for.
fn is_too_large(error: &tokio_postgres::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidInput)
}

fn is_network(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(current) = cause {
        if current.is::<std::io::Error>() {
            return true;
        }
        cause = current.source();
    }
    // A server that dies while it answers leaves no cause behind.
    error.is_closed() || error.to_string().starts_with("error connecting to server")
}

fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(database), _) => {
            let advice = if *database.code() == SqlState::INSUFFICIENT_PRIVILEGE {
                "; the user needs to be a member of fleet_consumer, for `migrate`, `retention` and `replay` of \
                 fleet_migrator"
            } else {
                ""
            };
            format!("PostgreSQL: {} (SQLSTATE {}){advice}", database.message(), database.code().code())
        }
        (None, Some(cause)) if is_handshake(error) => {
            let advice = fleet_tls::advice(cause)
                .unwrap_or("switch TLS on in the server, or use sslmode=disable in a network you trust");
            format!("PostgreSQL: {error}: {cause}; {advice}")
        }
        (None, Some(cause)) => format!("PostgreSQL: {error}: {cause}"),
        (None, None) => format!("PostgreSQL: {error}"),
    }
}

impl From<refinery::Error> for StoreError {
    fn from(error: refinery::Error) -> Self {
        let mut causes = successors(error.source(), |&cause| cause.source());
        let cause = causes.find_map(|cause| cause.downcast_ref()).map(describe);
        Self::Migration(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_state_is_sorted() {
        for state in
            ["08006", "28P01", "3D000", "40001", "40P01", "53100", "53300", "55P03", "57P01", "58030"]
        {
            assert_eq!(classify(state), ErrorClass::Unavailable, "{state}");
        }
        for state in ["25006", "25P03", "23505", "57P03"] {
            assert_eq!(classify(state), ErrorClass::Unavailable, "{state}");
        }
        for state in ["57014", "53400"] {
            assert_eq!(classify(state), ErrorClass::TooSlow, "{state}");
        }
        assert_eq!(["40P01", "3D000", "57014", "42P01"].map(label), ["40", "3D", "57", "other"]);
        for state in ["22021", "22P02", "22003", "23502", "23514", "54000"] {
            assert_eq!(classify(state), ErrorClass::Poison, "{state}");
        }
        for state in ["42P01", "42703", "42501", "0A000", "XX000", ""] {
            assert_eq!(classify(state), ErrorClass::Fatal, "{state}");
        }
    }
}

//! Errors of the databases.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use deadpool::managed::PoolError;
use fleet_tls::TlsError;

use crate::error_class::ErrorClass;
use crate::sqlstate::{self, Refusal};

/// A transaction that was not committed, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An error of PostgreSQL or of the connection to it.
    #[error("{}", describe(.0, sqlstate::advice))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server refuses a connection or cannot be reached. The data are never the reason.
    #[error("{}", describe(.0, sqlstate::connect_advice))]
    Connect(tokio_postgres::Error),
    /// No address for the name of a host.
    #[error("the address of the database host {0} cannot be found: {1}; check the URL and the name server")]
    Lookup(String, io::Error),
    /// Of several hosts, each with its port and its error, none can be used.
    #[error("none of the database hosts is a primary that can be used: {}", describe_hosts(.0))]
    Hosts(Vec<(String, Self)>),
    /// The server committed, but an administrator or a cancel request ended its wait for the synchronous standbys.
    #[error("the commit did not reach the synchronous standby; check the standbys in pg_stat_replication")]
    Unreplicated,
    /// The database refuses a harmless record as well as one of the batch, so that the data are not the cause.
    #[error(
        "the database refuses even a harmless record, so its tables are the cause: {0}; check the columns, constraints and \
             triggers that were added to them, run `fleet-consumer migrate`"
    )]
    RefusesAll(Box<Self>),
    /// The TLS handshake failed, or the server offers no TLS.
    #[error("{}", describe_handshake(.0))]
    Handshake(tokio_postgres::Error),
    /// The session lacks settings on which the safety of the data depends.
    #[error("the database session cannot be used: {0}")]
    Settings(String),
    /// The pool has no connection to give.
    #[error("no database connection: {0}; check the URL, the server and its connection limit")]
    Pool(String),
    /// No response in time.
    #[error("the database did not respond within {0:?}; check that it is reachable and not overloaded")]
    Timeout(Duration),
    /// No row where there must be one.
    #[error("the database returned no row where one is required; check that the URL points to PostgreSQL")]
    NoRow,
    /// The URL or a setting of it cannot be used.
    #[error("the database URL is not valid: {0}; use postgres://user:password@host:port/database")]
    Url(String),
    /// The CAs for the server's certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A migration failed.
    #[error("the migration failed: {0}; it was rolled back, run it again after removing the cause")]
    Migration(String),
    /// TimescaleDB is missing or too old.
    #[error("TimescaleDB 2.19 or newer is needed in the telemetry database, but {0}")]
    Timescale(String),
    /// Chunks are compressed, and the licence of TimescaleDB does not allow it to read or write them.
    #[error(
        "{0} chunks of telemetry are compressed, and TimescaleDB may neither read nor write them under its licence: set \
             timescaledb.license = timescale; before a change to the Apache edition, decompress every chunk"
    )]
    Licence(i64),
}

/// [`sqlstate::LABELS`] and the other kinds of failure.
const LABELS: [&str; 24] = {
    let kinds = ["tls", "io", "session", "pool", "timeout", "setup", "unreplicated"];
    let mut labels = [""; 24];
    let mut index = 0;
    while index < labels.len() {
        let states = sqlstate::LABELS.len();
        labels[index] = if index < states { sqlstate::LABELS[index] } else { kinds[index - states] };
        index += 1;
    }
    labels
};

impl From<PoolError<Self>> for StoreError {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(error) => error,
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
            Self::Connect(_)
            | Self::Lookup(..)
            | Self::Hosts(_)
            | Self::Unreplicated
            | Self::Handshake(_)
            | Self::Settings(_)
            | Self::Pool(_)
            | Self::Timeout(_)
            | Self::Licence(_) => ErrorClass::Unavailable,
            Self::NoRow | Self::RefusesAll(_) => ErrorClass::Session,
            Self::Url(_) | Self::Tls(_) | Self::Migration(_) | Self::Timescale(_) => ErrorClass::Fatal,
            Self::Postgres(error) => match error.as_db_error() {
                Some(refusal) => Refusal::from(refusal).class(),
                None => class_of_driver(error),
            },
        }
    }

    /// Every possible [`StoreError::label`].
    pub const LABELS: [&str; 24] = LABELS;

    /// The first two characters of the SQLSTATE, if it is one of [`StoreError::LABELS`], or the kind of failure, for
    /// metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Postgres(error) | Self::Connect(error) => match error.code() {
                Some(state) => sqlstate::label(state.code()),
                None => "io",
            },
            Self::Lookup(..) => "io",
            Self::RefusesAll(error) => error.label(),
            // One label for all: the hosts of one URL usually fail alike.
            Self::Hosts(failures) => failures.first().map_or("io", |(_host, error)| error.label()),
            Self::Unreplicated => "unreplicated",
            Self::Handshake(_) => "tls",
            Self::Settings(_) | Self::NoRow => "session",
            Self::Pool(_) => "pool",
            Self::Timeout(_) => "timeout",
            Self::Url(_) | Self::Tls(_) | Self::Migration(_) | Self::Timescale(_) | Self::Licence(_) => {
                "setup"
            }
        }
    }

    /// Whether the connection or its session caused the error, so that the same statement may succeed at once on
    /// another connection.
    pub(crate) fn blames_connection(&self) -> bool {
        match self {
            Self::Postgres(error) => match error.code() {
                Some(state) if sqlstate::ends_connection(state.code()) => true,
                Some(_) => self.class() == ErrorClass::Session,
                None => self.class() != ErrorClass::TooSlow,
            },
            Self::NoRow
            | Self::Connect(_)
            | Self::Lookup(..)
            | Self::Hosts(_)
            | Self::Unreplicated
            | Self::RefusesAll(_)
            | Self::Handshake(_)
            | Self::Settings(_)
            | Self::Pool(_)
            | Self::Timeout(_)
            | Self::Url(_)
            | Self::Tls(_)
            | Self::Migration(_)
            | Self::Timescale(_)
            | Self::Licence(_) => false,
        }
    }

    /// Whether PostgreSQL itself reported the error. It has ended the statement then.
    pub(crate) fn is_of_server(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.as_db_error().is_some())
    }

    /// Whether the session can still be used: the server refused one statement, and nothing else happened.
    pub(crate) fn leaves_session_clean(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        let class = error.as_db_error().map(|refusal| Refusal::from(refusal).class());
        matches!(class, Some(ErrorClass::Poison | ErrorClass::TooSlow | ErrorClass::Locked))
    }

    /// Whether a password or a privilege is missing. A command reports this at once instead of retrying.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Postgres(error) | Self::Connect(error) => {
                error.code().is_some_and(|state| sqlstate::is_refused(state.code()))
            }
            Self::Hosts(failures) => failures.iter().any(|(_host, error)| error.is_refused()),
            Self::Lookup(..)
            | Self::Unreplicated
            | Self::RefusesAll(_)
            | Self::Handshake(_)
            | Self::Settings(_)
            | Self::Pool(_)
            | Self::Timeout(_)
            | Self::NoRow
            | Self::Url(_)
            | Self::Tls(_)
            | Self::Migration(_)
            | Self::Timescale(_)
            | Self::Licence(_) => false,
        }
    }
}

/// What to do about an error without a SQLSTATE, while a statement runs.
fn class_of_driver(error: &tokio_postgres::Error) -> ErrorClass {
    match io_error(error) {
        // The driver refuses to send a value that is too long for the protocol. Or it cannot read a response, in
        // which case the data are not the cause.
        Some(cause) if cause.kind() == io::ErrorKind::InvalidInput => ErrorClass::TooSlow,
        Some(_) => ErrorClass::Unavailable,
        // If the server dies while it responds, the error has no cause.
        None if error.is_closed() => ErrorClass::Unavailable,
        // The response cannot be understood, or a type in the database differs from the one that this version writes.
        None => ErrorClass::Session,
    }
}

fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

fn describe(error: &tokio_postgres::Error, advice: fn(&str) -> Option<&'static str>) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(database), _) => {
            let state = database.code().code();
            let advice = advice(state).map(|advice| format!("; {advice}")).unwrap_or_default();
            format!("PostgreSQL: {} (SQLSTATE {state}){advice}", database.message())
        }
        (None, Some(cause)) => format!("PostgreSQL: {error}: {cause}"),
        (None, None) => format!("PostgreSQL: {error}"),
    }
}

fn describe_hosts(failures: &[(String, StoreError)]) -> String {
    let each = failures.iter().map(|(host, error)| format!("{host}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}

fn describe_handshake(error: &tokio_postgres::Error) -> String {
    let Some(cause) = error.source() else { return format!("PostgreSQL: {error}") };
    let advice = fleet_tls::advice(cause)
        .unwrap_or("enable TLS in the server, or use sslmode=disable in a trusted network");
    format!("PostgreSQL: {error}: {cause}; {advice}")
}

impl From<refinery::Error> for StoreError {
    fn from(error: refinery::Error) -> Self {
        let mut causes = successors(error.source(), |&cause| cause.source());
        let cause = causes.find_map(|cause| cause.downcast_ref());
        let cause = cause.map(|cause| describe(cause, sqlstate::advice));
        Self::Migration(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
    }
}

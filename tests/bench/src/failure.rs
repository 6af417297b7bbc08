//! Why a measurement could not be made.

use std::io;

/// Why a measurement failed, with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Testbed(#[from] fleet_testbed::Error),

    #[error(transparent)]
    Harness(#[from] fleet_harness::Failure),

    #[error(transparent)]
    Wait(#[from] fleet_harness::WaitError),

    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },

    #[error("cannot read /proc: {0}; the benchmark needs Linux")]
    Proc(#[from] procfs::ProcError),

    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),

    #[error("the queue: {0}")]
    Queue(#[from] fleet_queue::QueueError),

    #[error("PostgreSQL: {0}{detail}", detail = detail(.0))]
    Postgres(#[from] tokio_postgres::Error),

    #[error("RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),

    #[error("unexpected JSON: {0}")]
    Json(#[from] serde_json::Error),

    #[error("{name} {what}\n--- last lines of its log ---\n{log_tail}")]
    Process { name: String, what: String, log_tail: String },

    #[error("{0}")]
    Measurement(String),
}

impl Failure {
    /// For `map_err`: an I/O failure with what was attempted.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The measurement is invalid.
    pub(crate) fn measurement(what: impl Into<String>) -> Self {
        Self::Measurement(what.into())
    }
}

fn detail(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(String::new, |error| format!(" ({error})"))
}

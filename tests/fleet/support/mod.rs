//! What the tests share: services, databases, running binaries' code in process, waiting for conditions.

mod database;
mod fleet;

use std::time::{Duration, Instant};

pub(crate) use database::TestDatabase;
pub(crate) use fleet::{Fleet, SEGWAY_SECRET, TOKEN};
use uuid::Uuid;

/// Most time for anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The server that `cargo xtask test` has started.
pub(crate) fn redis_url() -> String {
    service("FLEET_TEST_REDIS_URL")
}

/// The server that `cargo xtask test` has started: a user that may create databases.
pub(crate) fn server_database_url() -> String {
    service("FLEET_TEST_DATABASE_URL")
}

fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the services")
    })
}

/// A key prefix of the test's own.
pub(crate) fn fresh_prefix() -> String {
    format!("test-{}", Uuid::now_v7().simple())
}

/// Waits until `condition` yields a value.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

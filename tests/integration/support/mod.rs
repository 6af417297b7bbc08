//! Shared by the tests: services, databases, the API and the consumer in the test's process, and waiting for
//! conditions.

mod database;
mod fleet;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use database::TestDatabase;
pub(crate) use fleet::{Fleet, SEGWAY_SECRET, TOKEN};
use fleet_testbed::{DatabaseLogin, RedisLogin};
use uuid::Uuid;

/// The longest time that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The Redis that `cargo xtask test` has started, with the administrator's login, which tests use to set up, inspect
/// and repair.
pub(crate) fn redis_url() -> String {
    service("FLEET_TEST_REDIS_URL")
}

/// The PostgreSQL that `cargo xtask test` has started, with the administrator's login, which may create databases.
pub(crate) fn server_database_url() -> String {
    service("FLEET_TEST_DATABASE_URL")
}

/// Replaces the administrator's login in a URL with one of this project's logins. On a server that a developer has
/// provided, the administrator's login stays, because that server may not have this login, or have it for other keys.
pub(crate) fn redis_as(login: RedisLogin, admin_url: &str) -> String {
    if has_logins(admin_url, &redis_url()) { login.of(admin_url) } else { admin_url.to_owned() }
}

/// Like [`redis_as`], for a database.
pub(crate) fn database_as(login: DatabaseLogin, admin_url: &str) -> String {
    if has_logins(admin_url, &server_database_url()) { login.of(admin_url) } else { admin_url.to_owned() }
}

/// Whether the server of `url` has this project's logins. A server that the test has started has them. The
/// `shared` one has them if `FLEET_TEST_LOGINS` is `compose`.
fn has_logins(url: &str, shared: &str) -> bool {
    let server = |url: &str| url.split('/').nth(2).map(str::to_owned);
    server(url) != server(shared)
        || std::env::var("FLEET_TEST_LOGINS").is_ok_and(|logins| logins == "compose")
}

fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `cargo xtask test`, which starts the services")
    })
}

/// The folder of the binaries that `cargo xtask test` has built.
pub(crate) fn folder_of_binaries() -> PathBuf {
    std::env::var("FLEET_TEST_BIN_DIR")
        .expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`, which builds the binaries")
        .into()
}

/// A new key prefix.
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

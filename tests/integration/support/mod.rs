//! What the tests share: services, databases, running binaries' code in process, waiting for conditions.

mod database;
mod fleet;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use database::TestDatabase;
pub(crate) use fleet::{Fleet, SEGWAY_SECRET, TOKEN};
use fleet_testbed::{DatabaseLogin, RedisLogin};
use uuid::Uuid;

/// Most time for anything that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The server that `cargo xtask test` has started, for its administrator: who sets up, looks and repairs.
pub(crate) fn redis_url() -> String {
    service("FLEET_TEST_REDIS_URL")
}

/// The server that `cargo xtask test` has started, for its administrator, who may create databases.
pub(crate) fn server_database_url() -> String {
    service("FLEET_TEST_DATABASE_URL")
}

/// An administrator's URL with a login that we ship instead. On a server of somebody's own, which may have no such
/// login or one for other keys, it stays the administrator's.
pub(crate) fn redis_as(login: RedisLogin, admin_url: &str) -> String {
    if has_logins(admin_url, &redis_url()) { login.of(admin_url) } else { admin_url.to_owned() }
}

/// As [`redis_as`], for a database.
pub(crate) fn database_as(login: DatabaseLogin, admin_url: &str) -> String {
    if has_logins(admin_url, &server_database_url()) { login.of(admin_url) } else { admin_url.to_owned() }
}

/// Whether `url` is on a server with the logins that we ship: any that the test has started, and the `shared` one if
/// whoever named it says so.
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

/// Where the programs are that `cargo xtask test` has built.
pub(crate) fn folder_of_binaries() -> PathBuf {
    std::env::var("FLEET_TEST_BIN_DIR")
        .expect("FLEET_TEST_BIN_DIR is not set: run `cargo xtask test`, which builds the binaries")
        .into()
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

//! The PostgreSQL servers, and the faults that hit them.

mod alone;
mod with_standby;

use fleet_testbed::Postgres;

pub(super) use self::alone::Alone;
pub(super) use self::with_standby::WithStandby;
use crate::refuse::refuse;
use fleet_harness::Failure;

/// The consumers' database user and its password. A fault changes the password.
const APP: [&str; 2] = ["consumer", "local-use-only-consumer"];

/// One way to run PostgreSQL. `target` chooses one of two databases.
///
/// Until [`DatabaseSide::recover`] returns true after a fault, there is no other one.
pub(super) trait DatabaseSide {
    /// The administrator's URLs for the programs: that of the state, then that of the telemetry if it is in
    /// another database.
    fn urls(&self) -> Vec<String>;

    /// The administrator's URLs of the state and of the telemetry for the simulator, each with one address that
    /// never changes.
    fn observer_urls(&self) -> [String; 2];

    /// The servers that accept writes.
    fn primaries(&self) -> Vec<&Postgres>;

    /// The server of the state or of the telemetry.
    fn primary(&mut self, target: usize) -> Result<&mut Postgres, Failure>;

    /// Closes all connections.
    fn cut(&self);

    /// Delivers nothing to and from the state's server.
    fn black_hole(&self);

    /// Ends [`DatabaseSide::black_hole`].
    fn heal(&self);

    /// Destroys the primary and its disk, and promotes its standby.
    fn lose_primary(&mut self) -> Result<(), Failure> {
        Err(refuse("this stage has no standby"))
    }

    /// Does the next step of the recovery after a fault. Returns whether every database accepts commits, which
    /// a standby confirms if this stage has one.
    fn recover(&mut self) -> Result<bool, Failure>;
}

/// Makes the database refuse every write, like a server without disk space, or accept writes again.
pub(super) fn make_read_only(database: &Postgres, is_read_only: bool) -> Result<(), Failure> {
    let value = if is_read_only { "on" } else { "off" };
    // PostgreSQL runs two statements in one string as one transaction, and refuses ALTER SYSTEM in a
    // transaction.
    database.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"))?;
    database.psql("SELECT pg_reload_conf()")?;
    Ok(())
}

/// Changes the password of the consumers' user and ends its connections, or restores the password.
pub(super) fn change_password(database: &Postgres, is_wrong: bool) -> Result<(), Failure> {
    let [login, right] = APP;
    let password = if is_wrong { "changed" } else { right };
    database.psql(&format!(
        "ALTER ROLE {login} PASSWORD '{password}';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
    ))?;
    Ok(())
}

/// The URL with the port of a proxy.
fn behind(url: &str, port: u16, way: u16) -> String {
    url.replacen(&format!(":{port}"), &format!(":{way}"), 1)
}

//! `cargo xtask services`.

use fleet_testbed::{DATABASE_URL_VARIABLE, REDIS_URL_VARIABLE, Services};

use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// Starts both servers, prints how to use them and waits for Ctrl-C.
pub(crate) fn run(interrupt: &Interrupt) -> Result<(), Failure> {
    let services = Services::start()?;
    let (redis, database) = (services.redis_url(), services.database_url());
    println!("# For the tests:");
    println!("export {REDIS_URL_VARIABLE}={redis}");
    println!("export {DATABASE_URL_VARIABLE}={database}");
    println!("# For the API and the consumer:");
    println!("export FLEET_REDIS_URL={redis}");
    println!("export FLEET_DATABASE_URL={database}");
    println!("# SQL: {}", services.psql_command().join(" "));
    let after = if services.are_private() { "ends them and removes their data" } else { "leaves them alone" };
    eprintln!("Redis and TimescaleDB are up; Ctrl-C {after}.");
    interrupt.wait();
    Ok(())
}

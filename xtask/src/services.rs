//! `cargo xtask services`.

use fleet_testbed::{DatabaseLogin, RedisLogin, Services};

use fleet_harness::Failure;
use fleet_harness::Interrupt;

/// Starts both servers, prints how to use them and waits for Ctrl-C.
pub(crate) fn run(interrupt: &Interrupt) -> Result<(), Failure> {
    let services = Services::start_for_tests(fleet_testbed::RedisServer::default())?;
    println!("# For the tests:");
    for (name, value) in services.variables() {
        println!("export {name}={value}");
    }
    println!("# For fleet-webhook-api:");
    println!("export FLEET_REDIS_URL={}", services.redis_url(RedisLogin::Api));
    println!("# For fleet-consumer run, audit and dead-letters:");
    println!("export FLEET_REDIS_URL={}", services.redis_url(RedisLogin::Consumer));
    println!("export FLEET_DATABASE_URL={}", services.database_url(DatabaseLogin::Consumer));
    println!("# For fleet-consumer migrate, retention and replay:");
    println!("export FLEET_DATABASE_URL={}", services.database_url(DatabaseLogin::Migrator));
    println!("# For the runbook: redis-cli -u {}", services.redis_url(RedisLogin::Operator));
    println!("# For backend developers: {}", services.psql_command(DatabaseLogin::Reader).join(" "));
    println!("# With all rights: {}", services.psql_command(DatabaseLogin::Admin).join(" "));
    let after =
        if services.are_private() { "stops them and deletes their data" } else { "leaves them running" };
    eprintln!("Redis and TimescaleDB are running; Ctrl-C {after}.");
    interrupt.wait();
    Ok(())
}

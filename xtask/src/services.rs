//! `cargo xtask services`.

use fleet_harness::{Failure, Interrupt};
use fleet_testbed::{
    AmqpLogin, DatabaseLogin, INVERS_QUEUES, Progress, RabbitMq, RabbitMqOptions, RedisLogin, Services,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also start a RabbitMQ with AMQP over TLS, a vhost and two queues, as INVERS has it.
    #[arg(long)]
    amqp: bool,
}

/// Starts the servers, prints how to use them and waits for Ctrl-C.
pub(crate) fn run(args: &Args, interrupt: &Interrupt) -> Result<(), Failure> {
    let services = Services::start_for_tests(fleet_testbed::RedisServer::default())?;
    let broker = if args.amqp {
        Some(RabbitMq::start(&RabbitMqOptions::of_invers()?, &Progress::stderr())?)
    } else {
        None
    };
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
    if let Some(broker) = &broker {
        println!("# For fleet-amqp-bridge:");
        println!("export FLEET_REDIS_URL={}", services.redis_url(RedisLogin::Api));
        println!("export FLEET_AMQP__URL={}", broker.url(AmqpLogin::Consumer));
        println!("export FLEET_AMQP__QUEUES={}", INVERS_QUEUES.join(","));
        println!("export FLEET_AMQP__CA_FILE={}", broker.certificate_file().display());
        println!("# To publish messages: {}", broker.url(AmqpLogin::Admin));
    }
    println!("# For the runbook: redis-cli -u {}", services.redis_url(RedisLogin::Operator));
    println!("# For backend developers: {}", services.psql_command(DatabaseLogin::Reader).join(" "));
    println!("# With all rights: {}", services.psql_command(DatabaseLogin::Admin).join(" "));
    let after =
        if services.are_private() { "stops them and deletes their data" } else { "leaves them running" };
    let also = if broker.is_some() { "RabbitMQ runs, too, and ends with this command. " } else { "" };
    eprintln!("Redis and TimescaleDB are running; Ctrl-C {after}. {also}");
    interrupt.wait();
    Ok(())
}

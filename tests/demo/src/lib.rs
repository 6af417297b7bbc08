//! `cargo xtask demo`: runs the whole system on this machine against simulated providers.

mod hints;
mod stage;

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_harness::{Cargo, Failure, Interrupt, Job, Limits, POLL, Program, build, command, log};
use fleet_testbed::{
    AmqpLogin, DatabaseLogin, INVERS_QUEUES, Progress, RabbitMq, RabbitMqOptions, RedisLogin, Services,
    free_port,
};

use crate::stage::{API, BRIDGE, CONSUMER, INVERS_TOKEN, NIU_TOKEN, QUERY, SEGWAY_SECRET, Stage};

/// The options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Vehicles, split evenly over the three providers.
    #[arg(long, value_name = "N", default_value_t = 300)]
    vehicles: u32,
    /// How long the simulator sends, such as 20s or 2m.
    #[arg(long = "for", value_name = "DURATION", default_value = "20s")]
    run_for: String,
    /// What the simulated providers do, such as steady, bomb, duplicates or shuffled [default: a mix of all].
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// INVERS publishes its events to a RabbitMQ, and fleet-amqp-bridge consumes them. The first time, this downloads a RabbitMQ.
    #[arg(long)]
    amqp: bool,
    /// Keep everything running afterwards, until Ctrl-C, and print what to try.
    #[arg(long)]
    keep: bool,
    /// Print all counts as one JSON object in the last line of stdout.
    #[arg(long)]
    json: bool,
    /// Uses the binaries of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
}

/// Starts everything, runs the simulator, which also checks the result, and stops everything.
///
/// # Errors
///
/// If a program misbehaves, or if the simulator finds a difference.
pub fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.bin_dir.is_none() {
        build::debug(cargo, interrupt)?;
    }
    let bin_dir = args.bin_dir.as_deref().unwrap_or(cargo.bin_dir());
    let limits = Limits::read(cargo)?;
    let logs = tempfile::tempdir().map_err(Failure::io("create a temporary folder for the logs"))?;
    let outcome = show(args, bin_dir, &limits, logs.path(), interrupt);
    if outcome.as_ref().is_err_and(|failure| !failure.is_interrupt()) {
        log::print_tails(logs.path());
    }
    outcome
}

fn show(
    args: &Args,
    bin_dir: &Path,
    limits: &Limits,
    logs: &Path,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let progress = Progress::stderr();
    let services = Services::start(&progress)?;
    let broker = if args.amqp {
        progress.say("starting RabbitMQ");
        Some(RabbitMq::start(&RabbitMqOptions::of_invers()?, &progress)?)
    } else {
        None
    };
    let (api_port, query_port) = (free_port()?, free_port()?);
    let stage = Stage { bin_dir, services: &services, api_port, query_port, broker: broker.as_ref() };

    progress.say("preparing the database");
    command::run_consumer(stage.consumer(DatabaseLogin::Migrator), "migrate", interrupt)?;

    progress.say("starting the services");
    let consumer = stage.consumer(DatabaseLogin::Consumer);
    let consumer = Program::start_in(limits.consumer()?, CONSUMER, consumer, logs)?;
    // In the order of the hints. They stop in this order, too.
    let mut programs = vec![Program::start_in(limits.api()?, API, stage.api(), logs)?];
    if let Some(broker) = stage.broker {
        programs.push(Program::start_in(limits.bridge()?, BRIDGE, stage.bridge(broker), logs)?);
    }
    programs.push(consumer);
    for program in &mut programs {
        program.wait_ready(interrupt)?;
    }
    drop(progress);

    let simulator = Job::start("fleet-simulator", &mut simulator(args, &stage))?;
    simulator.finish(interrupt, || programs.iter_mut().try_for_each(Program::check))?;
    if args.keep {
        let mut query = Program::start(QUERY, stage.query(), logs)?;
        query.wait_ready(interrupt)?;
        programs.push(query);
        eprint!("{}", hints::text(&stage, logs, &programs));
        while interrupt.check().is_ok() {
            programs.iter_mut().try_for_each(Program::check)?;
            std::thread::sleep(POLL);
        }
    }
    programs.into_iter().try_for_each(Program::stop)
}

fn simulator(args: &Args, stage: &Stage<'_>) -> Command {
    let mut command = command::of(stage.bin_dir, "fleet-simulator", "warn");
    command
        .arg("run")
        .args(["--api", &format!("http://127.0.0.1:{}", stage.api_port)])
        // The simulator reads the database as a backend developer does. In Redis it needs the administrator,
        // who alone may use SCAN, to find the ledgers.
        .args(["--database-url", &stage.services.database_url(DatabaseLogin::Reader)])
        .args(["--redis-url", &stage.services.redis_url(RedisLogin::Admin)])
        .args(["--niu-token", NIU_TOKEN])
        .args(["--segway-secret", SEGWAY_SECRET])
        .args(["--invers-token", INVERS_TOKEN])
        .args(["--vehicles", &args.vehicles.to_string()])
        .args(["--for", &args.run_for]);
    if let Some(broker) = stage.broker {
        command
            .args(["--amqp-url", &broker.url(AmqpLogin::Admin)])
            .args(INVERS_QUEUES.iter().flat_map(|queue| ["--amqp-queue", queue]))
            .arg("--amqp-ca-file")
            .arg(broker.certificate_file());
    }
    if let Some(scenario) = &args.scenario {
        command.args(["--scenario", scenario]);
    }
    if args.json {
        command.arg("--json");
    }
    command
}

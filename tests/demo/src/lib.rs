//! `cargo xtask demo`: runs the whole system on this machine against simulated providers.

mod hints;
mod stage;

use std::path::Path;
use std::process::Command;

use fleet_harness::{Cargo, Failure, Interrupt, Job, Limits, POLL, Program, build, command, log};
use fleet_testbed::{DatabaseLogin, Progress, RedisLogin, Services, free_port};

use crate::stage::{API, CONSUMER, INVERS_TOKEN, NIU_TOKEN, QUERY, SEGWAY_SECRET, Stage};

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
    /// Keep everything running afterwards, until Ctrl-C, and print what to try.
    #[arg(long)]
    keep: bool,
    /// Print all counts as one JSON object in the last line of stdout.
    #[arg(long)]
    json: bool,
}

/// Starts everything, runs the simulator, which also checks the result, and stops everything.
///
/// # Errors
///
/// If a program misbehaves, or if the simulator finds a difference.
pub fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    build::debug(cargo, interrupt)?;
    let limits = Limits::read(cargo)?;
    let logs = tempfile::tempdir().map_err(Failure::io("create a temporary folder for the logs"))?;
    let outcome = show(args, cargo.bin_dir(), &limits, logs.path(), interrupt);
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
    let stage = Stage { bin_dir, services: &services, api_port: free_port()?, query_port: free_port()? };

    progress.say("preparing the database");
    command::run_consumer(stage.consumer(DatabaseLogin::Migrator), "migrate", interrupt)?;

    progress.say("starting fleet-webhook-api and fleet-consumer");
    let consumer = stage.consumer(DatabaseLogin::Consumer);
    let mut consumer = Program::start_in(limits.consumer()?, CONSUMER, consumer, logs)?;
    let mut api = Program::start_in(limits.api()?, API, stage.api(), logs)?;
    for program in [&mut consumer, &mut api] {
        program.wait_ready(interrupt)?;
    }
    drop(progress);

    let simulator = Job::start("fleet-simulator", &mut simulator(args, &stage))?;
    simulator.finish(interrupt, || {
        consumer.check()?;
        api.check()
    })?;
    if args.keep {
        let mut query = Program::start(QUERY, stage.query(), logs)?;
        query.wait_ready(interrupt)?;
        eprint!("{}", hints::text(&stage, logs, [&api, &consumer, &query]));
        while interrupt.check().is_ok() {
            consumer.check()?;
            api.check()?;
            query.check()?;
            std::thread::sleep(POLL);
        }
        query.stop()?;
    }
    api.stop()?;
    consumer.stop()
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
    if let Some(scenario) = &args.scenario {
        command.args(["--scenario", scenario]);
    }
    if args.json {
        command.arg("--json");
    }
    command
}

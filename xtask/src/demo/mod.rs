//! `cargo xtask demo`: the whole system on this machine, against simulated providers.

mod daemon;
mod hints;

use std::path::Path;
use std::process::Command;

use fleet_testbed::{DatabaseLogin, Progress, RedisLogin, Services, free_port};

use self::daemon::Daemon;
use crate::cargo::Cargo;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::limits::Limits;
use crate::service;
use crate::test::build_bins;

const API: &str = "fleet-webhook-api";
const CONSUMER: &str = "fleet-consumer";

/// What docker-compose.yml gives the API: three quarters of its Redis' `maxmemory` together.
const MAX_BACKLOG_BYTES: &str = "268435456";

const NIU_TOKEN: &str = "demo-niu-token";
const SEGWAY_SECRET: &str = "demo-segway-secret";
const INVERS_TOKEN: &str = "demo-invers-token";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Vehicles, split evenly over the three providers.
    #[arg(long, value_name = "N", default_value_t = 300)]
    vehicles: u32,
    /// How long the simulator sends, such as 20s or 2m.
    #[arg(long = "for", value_name = "DURATION", default_value = "20s")]
    run_for: String,
    /// What the simulated providers do, such as steady, bomb, duplicates or shuffled [default: a bit of all].
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Leave everything running afterwards and print what to try, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// The last line on stdout is one JSON object with all counts.
    #[arg(long)]
    json: bool,
}

/// What the demo's processes share.
struct Stage<'a> {
    bin_dir: &'a Path,
    services: &'a Services,
    api_port: u16,
}

impl Stage<'_> {
    /// The API with the demo's configuration.
    fn api(&self) -> Command {
        let mut command = service::command(self.bin_dir, API, "warn");
        command
            .env("FLEET_REDIS_URL", self.services.redis_url(RedisLogin::Api))
            .env("FLEET_API__LISTEN", format!("127.0.0.1:{}", self.api_port));
        for (provider, secret) in [("NIU", NIU_TOKEN), ("SEGWAY", SEGWAY_SECRET), ("INVERS", INVERS_TOKEN)] {
            command
                .env(format!("FLEET_PROVIDERS__{provider}__SECRETS"), secret)
                .env(format!("FLEET_PROVIDERS__{provider}__MAX_BACKLOG_BYTES"), MAX_BACKLOG_BYTES);
        }
        command
    }

    /// The consumer, or a command of it, with what `login` may do in the database.
    fn consumer(&self, login: DatabaseLogin) -> Command {
        let mut command = service::command(self.bin_dir, CONSUMER, "warn");
        command
            .env("FLEET_REDIS_URL", self.services.redis_url(RedisLogin::Consumer))
            .env("FLEET_DATABASE_URL", self.services.database_url(login));
        command
    }
}

/// Starts everything, lets the simulator send and check, stops everything.
pub(crate) fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    build_bins(cargo, interrupt)?;
    let limits = Limits::read(cargo)?;
    let logs = tempfile::tempdir().map_err(Failure::io("create a temporary folder for the logs"))?;
    let progress = Progress::stderr();
    let services = Services::start(&progress)?;
    let stage = Stage { bin_dir: cargo.bin_dir(), services: &services, api_port: free_port()? };

    progress.say("preparing the database");
    let admin = format!("127.0.0.1:{}", free_port()?);
    let mut migrate = stage.consumer(DatabaseLogin::Migrator);
    migrate.arg("migrate").env("FLEET_ADMIN__LISTEN", admin).stdout(std::io::stderr());
    Job::run("fleet-consumer migrate", &mut migrate, interrupt)?;

    progress.say("starting fleet-webhook-api and fleet-consumer");
    let consumer = stage.consumer(DatabaseLogin::Consumer);
    let mut consumer = Daemon::start(CONSUMER, consumer, limits.consumer()?, logs.path())?;
    let mut api = Daemon::start(API, stage.api(), limits.api()?, logs.path())?;
    for daemon in [&mut consumer, &mut api] {
        daemon.wait_ready(interrupt)?;
    }
    drop(progress);

    let simulator = Job::start("fleet-simulator", &mut simulator(args, &stage))?;
    let outcome = simulator.finish(interrupt, || {
        consumer.check()?;
        api.check()
    });
    if let Err(Failure::Exit { .. }) = outcome {
        // What the two have to say is the first thing anybody asks for.
        for daemon in [&consumer, &api] {
            daemon.print_log_tail();
        }
    }
    outcome?;
    if args.keep {
        eprint!("{}", hints::text(&stage, [&api, &consumer]));
        while interrupt.check().is_ok() {
            consumer.check()?;
            api.check()?;
            std::thread::sleep(crate::interrupt::POLL);
        }
    }
    api.stop()?;
    consumer.stop()
}

fn simulator(args: &Args, stage: &Stage<'_>) -> Command {
    let mut command = service::command(stage.bin_dir, "fleet-simulator", "warn");
    command
        .arg("run")
        .args(["--api", &format!("http://127.0.0.1:{}", stage.api_port)])
        // It judges by what backend developers can see; it looks for ledgers with SCAN, which only an administrator may.
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

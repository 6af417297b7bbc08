//! `cargo xtask chaos`: kills, freezes and restarts everything under load, and requires that nothing is lost.

mod amqp_side;
mod database_side;
mod history;
mod injector;
mod json;
mod kind;
mod layout;
mod needless;
mod programs;
mod query;
mod redis_side;
mod refuse;
mod schedule;
mod stage;
mod verdict;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_failpoints::Failpoint;
use jiff::SignedDuration;

use self::injector::Injector;
use self::layout::{Databases, Layout, StageName};
use self::stage::Stage;
use self::verdict::{Run, Verdict};
use crate::refuse::refuse;
use fleet_harness::{Cargo, Failure, Interrupt, Job, Limits, build, log};

/// The number of concurrent requests of the simulator. Most of them wait while the API sheds load or a server
/// is unavailable.
const CONNECTIONS: u16 = 128;

/// The same with replicas, for which each request also waits.
const REPLICATED_CONNECTIONS: u16 = 256;

/// How long the simulator retries one report.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// How long the simulator waits after the last visible progress.
const SETTLE_FOR: Duration = Duration::from_secs(90);

/// The options of `cargo xtask chaos`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long the simulator sends and faults are injected, such as 60s or 2m.
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    run_for: Duration,
    /// Repeats the faults and the reports of the run with this seed [default: random].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Vehicles, split evenly over the three providers.
    #[arg(long, value_name = "N", default_value_t = 600)]
    vehicles: u32,
    /// Webhooks per second [default: as many as the API accepts].
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// The maximum number of messages in a consumer's batch. Smaller batches run concurrently more often.
    #[arg(long, value_name = "N", default_value_t = 200)]
    batch: u32,
    /// The servers, and which of their machines may be lost.
    #[arg(long, value_enum, default_value_t = StageName::Single)]
    stage: StageName,
    /// Where vehicle state and telemetry are stored. With two, one database at a time is also unavailable for
    /// longer than a lease.
    #[arg(long, value_enum, default_value_t = Databases::One)]
    databases: Databases,
    /// Builds the services with failpoints and switches this one on; the run must fail.
    #[arg(long, value_name = "NAME", value_parser = failpoint)]
    failpoint: Option<Failpoint>,
    /// Uses the binaries of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
}

impl Args {
    fn layout(&self) -> Layout {
        Layout { stage: self.stage, databases: self.databases }
    }
}

/// Runs the system under faults and requires that every acknowledged event is stored exactly once.
///
/// # Errors
///
/// If a program misbehaves, or if the run does not meet its requirements.
pub fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    if args.stage != StageName::Single && args.databases == Databases::Two {
        return Err(refuse("--databases two needs --stage single"));
    }
    let bin_dir = match (&args.bin_dir, args.failpoint) {
        (Some(folder), _) => folder.clone(),
        (None, Some(_)) => build::with_failpoints(cargo, interrupt)?,
        (None, None) => build::release(cargo, interrupt)?,
    };
    // 32 bits, so that the seed is short enough to type.
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one(()) % 1_000_000);
    eprintln!("seed {seed}");
    let logs = tempfile::tempdir().map_err(Failure::io("create a temporary folder for the logs"))?;
    let limits = Limits::read(cargo)?;
    let outcome = survive(args, seed, &bin_dir, limits, logs.path(), interrupt);
    if let Err(failure) = &outcome
        && !failure.is_interrupt()
    {
        log::print_tails(logs.path());
        let seconds = args.run_for.as_secs();
        eprintln!("the complete logs are in {}", logs.keep().display());
        eprintln!(
            "to repeat: cargo xtask chaos --for {seconds}s --seed {seed} --vehicles {} --batch {}{}{}{}",
            args.vehicles,
            args.batch,
            args.layout().options(),
            args.rate.map_or_else(String::new, |rate| format!(" --rate {rate}")),
            args.failpoint.map_or_else(String::new, |failpoint| format!(" --failpoint {}", failpoint.name())),
        );
    }
    outcome
}

fn survive(
    args: &Args,
    seed: u64,
    bin_dir: &Path,
    limits: Limits,
    logs: &Path,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let layout = args.layout();
    let mut stage = Stage::set(bin_dir, layout, args.failpoint, args.batch, limits, logs, interrupt)?;
    let result = logs.join("simulator.json");
    let connections = if layout.has_replicas() { REPLICATED_CONNECTIONS } else { CONNECTIONS };
    let mut command = stage.programs.simulator(&stage.redis.server_urls(), stage.databases.observer_urls());
    command
        .args(["--scenario", "flood", "--json"])
        .args(["--connections", &connections.to_string()])
        .args(["--seed", &seed.to_string()])
        .args(["--vehicles", &args.vehicles.to_string()])
        .args(["--for", &format!("{}ms", args.run_for.as_millis())])
        .args(["--retry-for", &format!("{}s", RETRY_FOR.as_secs())])
        .args(["--settle-for", &format!("{}s", SETTLE_FOR.as_secs())])
        .stdout(File::create(&result).map_err(Failure::io(format!("create {}", result.display())))?);
    if let Some(rate) = args.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let simulator = Job::start("fleet-simulator", &mut command)?;
    let mut injector = Injector::new(schedule::faults(seed, args.run_for, layout), args.run_for, layout);
    let end = Instant::now() + args.run_for + RETRY_FOR + SETTLE_FOR * 2;
    let simulated = simulator.finish(interrupt, || {
        if Instant::now() >= end {
            return Err(refuse("the simulator did not finish in time"));
        }
        injector.tick(&mut stage)
    });
    let mut verdict = Verdict::default();
    match simulated {
        Ok(()) => {}
        // The simulator has printed what is wrong. The verdict adds what the audit finds.
        Err(Failure::Exit { what, status }) => verdict.add_problem(format!("{what} ended with {status}")),
        Err(failure) => return Err(failure),
    }
    injector.end_all(&mut stage, interrupt)?;
    verdict.compare(&mut stage, interrupt)?;
    let counts = fs::read_to_string(&result).unwrap_or_default();
    verdict.examine(&mut stage, interrupt)?;
    verdict.print(&mut stage, &injector, &counts, &Run { layout, run_for: args.run_for, seed })
}

fn failpoint(name: &str) -> Result<Failpoint, String> {
    let found = Failpoint::ALL.iter().find(|failpoint| failpoint.name() == name).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = Failpoint::ALL.iter().map(|failpoint| failpoint.name()).collect();
        format!("choose one of {}", names.join(", "))
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

//! `cargo xtask rehearse`: a day of autoscaling without a cluster. The replicas are real consumers; the API,
//! Redis and TimescaleDB are real too. A controller applies the HPA of the rendered production manifests to
//! what the consumers' `/metrics` and `/proc` show.

mod cpu;
mod day;
mod forecast;
mod hpa;
mod load;
mod manifest;
mod plan;
mod plot;
mod pool;
mod refuse;
mod render;
mod script;
mod series;
mod stage;
mod timeline;
mod verdict;
mod watch;
mod wire;

use std::fs;
use std::path::PathBuf;

use self::plan::{Choice, Plan};
use fleet_harness::{Cargo, Failure, Interrupt, build, log};

/// The whole day, on a machine that runs nothing else.
const FULL: Choice =
    Choice { speed: 5.0, events_per_second: 2_000, bomb_events: 1_800_000, replicas: None, cpu_factor: 1 };

/// The same day in under a minute, with debug builds on two shared cores: a third of the replicas. Such a consumer uses more CPU
/// than the request is meant for: it is not optimised, and it reads the queues' state 20 times as often.
const SHORT: Choice = Choice {
    speed: 40.0,
    events_per_second: 400,
    bomb_events: 14_000,
    replicas: Some((1, 4)),
    cpu_factor: 2,
};

/// The options of `cargo xtask rehearse`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Simulate the day in under a minute: debug builds, fewer and slower replicas, a small bomb.
    #[arg(long)]
    short: bool,
    /// Divide every period and window of the controller, the metrics and the kubelet by this [default: 5, or
    /// 40 with --short].
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    speed: Option<f64>,
    /// The rate limit of each consumer [default: 2000, or 400 with --short].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    events_per_second: Option<u32>,
    /// The number of events of the bomb [default: 1800000, or 14000 with --short].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    bomb: Option<u64>,
    /// The rendered manifests [default: the output of kubectl kustomize deploy/k8s/overlays/production].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The file of the plot [default: docs/autoscaling.svg; with --short autoscaling-short.svg in the target
    /// folder].
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Use the binaries of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
}

/// Simulates the day and checks its requirements.
///
/// # Errors
///
/// If a program misbehaves, or if the run does not meet its requirements.
pub fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    let rendered = match &args.manifest {
        Some(file) => fs::read_to_string(file).map_err(Failure::io(format!("read {}", file.display())))?,
        None => render::production(cargo)?,
    };
    let default = if args.short { SHORT } else { FULL };
    let choice = Choice {
        speed: args.speed.unwrap_or(default.speed),
        events_per_second: args.events_per_second.unwrap_or(default.events_per_second),
        bomb_events: args.bomb.unwrap_or(default.bomb_events),
        ..default
    };
    let plan = Plan::new(choice, &manifest::read(&rendered)?)?;
    let bin_dir = match (&args.bin_dir, args.short) {
        (Some(folder), _) => folder.clone(),
        (None, true) => {
            build::debug(cargo, interrupt)?;
            cargo.bin_dir().to_owned()
        }
        (None, false) => build::release(cargo, interrupt)?,
    };
    let plot = args.plot.clone().unwrap_or_else(|| {
        if args.short {
            cargo.bin_dir().with_file_name("autoscaling-short.svg")
        } else {
            cargo.workspace().join("docs/autoscaling.svg")
        }
    });
    let logs = tempfile::tempdir().map_err(Failure::io("create a temporary folder for the logs"))?;
    let outcome = script::play(&plan, &bin_dir, logs.path(), &plot, interrupt);
    if let Err(failure) = &outcome
        && !failure.is_interrupt()
    {
        log::print_tails(logs.path());
        eprintln!("the complete logs are in {}", logs.keep().display());
    }
    outcome
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if (1.0..=60.0).contains(&factor) { Ok(factor) } else { Err("must be from 1 to 60".to_owned()) }
}

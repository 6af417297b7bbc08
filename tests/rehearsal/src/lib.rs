//! `cargo xtask rehearse`: a day of autoscaling without a cluster. Real consumers are the replicas, a real API, Redis and
//! TimescaleDB are what they work with, and a controller applies the HPA of the rendered production manifests to what the
//! consumers' `/metrics` and `/proc` say.

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

/// The whole day on a machine for itself.
const FULL: Choice = Choice { speed: 5.0, events_per_second: 2_000, bomb_events: 1_800_000, replicas: None };

/// The same in under a minute, built for debugging, on two shared cores: a third of the replicas.
const SHORT: Choice =
    Choice { speed: 40.0, events_per_second: 400, bomb_events: 14_000, replicas: Some((1, 4)) };

/// The options of `cargo xtask rehearse`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The same day in under a minute: built for debugging, fewer and slower replicas, a small bomb.
    #[arg(long)]
    short: bool,
    /// Divides every period and window of the controller, the metrics and the kubelet [default: 5, or 40 with --short].
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    speed: Option<f64>,
    /// Each consumer's limit [default: 2000, or 400 with --short].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    events_per_second: Option<u32>,
    /// The bomb's size [default: 1800000, or 14000 with --short].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    bomb: Option<u64>,
    /// The rendered manifests [default: deploy/k8s/overlays/production through kubectl kustomize].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where the plot goes [default: docs/autoscaling.svg; with --short autoscaling-short.svg in the target folder].
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Uses the binaries of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
}

/// Plays the day and requires what it has to show.
///
/// # Errors
///
/// If a program does not do what it must, or the run does not show what it must show.
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
        eprintln!("whole logs: {}", logs.keep().display());
    }
    outcome
}

fn factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if (1.0..=60.0).contains(&factor) { Ok(factor) } else { Err("must be from 1 to 60".to_owned()) }
}

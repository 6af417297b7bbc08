//! Measures API, consumer, Redis and PostgreSQL beside bare references; `cargo xtask bench` builds and runs it.
//!
//! `run` starts servers of its own and the products on them. Whatever must not be measured with them is a process of its
//! own: the load generator, the references and the looks at freshness are this program's other subcommands.

#![allow(clippy::cast_precision_loss, reason = "counts and microseconds stay far below 2^52")]

mod case;
mod failure;
mod figures;
mod flood;
mod freshness;
mod insert;
mod load;
mod machine;
mod provider;
mod record;
mod redis_side;
mod reference;
mod running;
mod runtime;
mod sql;
mod stage;
mod usage;
mod usual;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use fleet_runtime::settings::Settings;
use serde::Serialize;

use crate::case::{Case, Setup};
use crate::failure::Failure;
use crate::machine::Machine;
use fleet_harness::Interrupt;

/// That of the services: the references differ from them in what they do alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the services beside bare references; cargo xtask bench builds everything and runs it.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure cases, print their tables and write a JSON file for each; exit status 1 if a must does not hold.
    Run(RunArgs),
    /// Post webhooks as the JSON says and print what came of it; a part of `run`.
    Load {
        /// See `load::Load`.
        json: String,
    },
    /// Insert prepared rows as the JSON says; a part of `run`.
    Insert {
        /// See `insert::Insert`.
        json: String,
    },
    /// Look how long reports take to be visible; a part of `run`.
    Freshness {
        /// See `freshness::Freshness`.
        json: String,
    },
    /// Attack as the JSON says; a part of `run`.
    Attack {
        /// See `flood::Flood`.
        json: String,
    },
    /// Post webhooks on new connections; a part of `run`.
    Newcomers {
        /// See `flood::Newcomers`.
        json: String,
    },
    /// Serve as a reference; a part of `run`.
    Reference {
        /// Which.
        what: Reference,
        /// Loopback port.
        #[arg(long)]
        port: u16,
        /// Redis of `lpush`.
        #[arg(long)]
        redis_url: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reference {
    /// Reads the body and answers 200.
    Bare,
    /// One LPUSH a request.
    Lpush,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Cases; all if none is named.
    cases: Vec<Case>,
    /// Small sizes and one round, to see whether it works: the figures mean nothing and are not judged.
    #[arg(long)]
    quick: bool,
    /// How often each case and its reference run, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Where fleet-webhook-api and fleet-consumer are.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Where the JSON files go.
    #[arg(long)]
    out: PathBuf,
    /// Put the tables into this document, too.
    #[arg(long)]
    record: Option<PathBuf>,
    /// What the files call the command.
    #[arg(long, default_value = "fleet-bench run")]
    command: String,
    /// What the files call the commit.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// What the files call the compiler.
    #[arg(long, default_value = "unknown")]
    compiler: String,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("fleet-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Run(args) => measure(&args),
        Command::Load { json } => print(&load::run(&serde_json::from_str(&json)?)?),
        Command::Insert { json } => print(&insert::run(&serde_json::from_str(&json)?)?),
        Command::Freshness { json } => print(&freshness::run(&serde_json::from_str(&json)?)?),
        Command::Attack { json } => print(&flood::attack(&serde_json::from_str(&json)?)?),
        Command::Newcomers { json } => print(&flood::newcomers(&serde_json::from_str(&json)?)?),
        Command::Reference { what, port, redis_url } => {
            let threads = Settings::default().worker_threads;
            let runtime = fleet_runtime::cli::runtime(threads).map_err(Failure::io("start a runtime"))?;
            match what {
                Reference::Bare => runtime.block_on(reference::bare(port))?,
                Reference::Lpush => runtime.block_on(reference::lpush(port, &redis_url))?,
            }
            Ok(true)
        }
    }
}

fn print(outcome: &impl Serialize) -> Result<bool, Failure> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(true)
}

/// Measures the cases, each on servers of its own; whether everything that must hold does.
fn measure(args: &RunArgs) -> Result<bool, Failure> {
    let setup = Setup {
        bin_dir: args.bin_dir.clone(),
        quick: args.quick,
        rounds: if args.quick { 1 } else { args.rounds.max(1) },
        interrupt: Interrupt::install()?,
    };
    fs::create_dir_all(&args.out).map_err(Failure::io(format!("create {}", args.out.display())))?;
    let all = Case::value_variants();
    let cases = if args.cases.is_empty() { all } else { &args.cases };
    let mut holds = true;
    for case in cases {
        let (report, stage) = case.run(&setup)?;
        let machine = Machine::read(&stage, &args.command, &args.commit, &args.compiler)?;
        drop(stage);
        println!("{}\n", report.text());
        let file = args.out.join(format!("{}.json", report.case));
        fs::write(&file, report.json(&machine)?).map_err(Failure::io(format!("write {}", file.display())))?;
        eprintln!("wrote {}", file.display());
        if let (Some(document), false) = (&args.record, report.quick) {
            record::record(document, report.case, &report.markdown(&machine))?;
        }
        holds &= report.holds() || report.quick;
    }
    if !holds {
        eprintln!("fleet-bench: something that must hold does not; see the tables");
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! Measures the API, the consumer, Redis and PostgreSQL against minimal references. `cargo xtask bench`
//! builds and runs it.
//!
//! `run` starts private servers and the services. Everything that must not be measured together with them
//! runs in its own process: the load generator, the references and the freshness queries are this program's
//! other subcommands.

#![allow(clippy::cast_precision_loss, reason = "counts and microseconds stay far below 2^52")]

mod amqp;
mod case;
mod cities;
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
mod reference_sql;
mod replication;
mod running;
mod runtime;
mod sql;
mod stage;
mod streams;
mod usage;
mod usual;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use fleet_runtime::settings::Settings;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::case::{Case, Setup};
use crate::failure::Failure;
use crate::machine::Machine;
use fleet_harness::Interrupt;

/// The allocator of the services, so that the references differ from them only in what they do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the services against minimal references. cargo xtask bench builds everything and runs it.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure cases, print their tables and write a JSON file for each. Exit status 1 if a requirement is
    /// not met.
    Run(RunArgs),
    /// Post webhooks as specified in the JSON and print the result; used by `run`.
    Load {
        /// See `load::Load`.
        json: String,
    },
    /// Insert prepared rows as specified in the JSON; used by `run`.
    Insert {
        /// See `insert::Insert`.
        json: String,
    },
    /// Measure how long reports take to become visible; used by `run`.
    Freshness {
        /// See `freshness::Freshness`.
        json: String,
    },
    /// Consume a queue of RabbitMQ and drop its messages, as specified in the JSON; used by `run`.
    Consume {
        /// See `amqp::Consume`.
        json: String,
    },
    /// Read many streams of the query service, as specified in the JSON; used by `run`.
    Streams {
        /// See `streams::Streams`.
        json: String,
    },
    /// Attack as specified in the JSON; used by `run`.
    Attack {
        /// See `flood::Flood`.
        json: String,
    },
    /// Post webhooks on new connections; used by `run`.
    Newcomers {
        /// See `flood::Newcomers`.
        json: String,
    },
    /// Serve as a reference; used by `run`.
    Reference {
        /// Which reference.
        what: Reference,
        /// Loopback port.
        #[arg(long)]
        port: u16,
        /// Redis for `lpush`, PostgreSQL for `sql`.
        #[arg(long)]
        url: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reference {
    /// Reads the body and responds with 200.
    Bare,
    /// Sends one LPUSH for each request.
    Lpush,
    /// Sends one query to PostgreSQL for each request.
    Sql,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The cases to measure [default: all].
    cases: Vec<Case>,
    /// Run one small round to check that the benchmark works. Its figures are meaningless and are not judged.
    #[arg(long)]
    quick: bool,
    /// How many rounds to run. A round runs each case and its reference once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How many shards each provider has, on the one Redis of the benchmark.
    #[arg(long, default_value_t = 1)]
    shards: u8,
    /// The folder of fleet-webhook-api and fleet-consumer.
    #[arg(long)]
    bin_dir: PathBuf,
    /// The folder for the JSON files.
    #[arg(long)]
    out: PathBuf,
    /// Also write the tables into this document.
    #[arg(long)]
    record: Option<PathBuf>,
    /// The command to name in the files.
    #[arg(long, default_value = "fleet-bench run")]
    command: String,
    /// The commit to name in the files.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// The compiler to name in the files.
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
        Command::Consume { json } => {
            print(&service_runtime()?.block_on(amqp::consume(&serde_json::from_str(&json)?))?)
        }
        Command::Streams { json } => print(&streams::run(&serde_json::from_str(&json)?)?),
        Command::Attack { json } => print(&flood::attack(&serde_json::from_str(&json)?)?),
        Command::Newcomers { json } => print(&flood::newcomers(&serde_json::from_str(&json)?)?),
        Command::Reference { what, port, url } => {
            let runtime = service_runtime()?;
            match what {
                Reference::Bare => runtime.block_on(reference::bare(port))?,
                Reference::Lpush => runtime.block_on(reference::lpush(port, &url))?,
                Reference::Sql => runtime.block_on(reference_sql::run(port, &url))?,
            }
            Ok(true)
        }
    }
}

/// The runtime of the services.
fn service_runtime() -> Result<Runtime, Failure> {
    let threads = Settings::default().worker_threads;
    fleet_runtime::cli::runtime(threads).map_err(Failure::io("start a runtime"))
}

fn print(outcome: &impl Serialize) -> Result<bool, Failure> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(true)
}

/// Measures the cases, each on its own servers. Returns whether all requirements are met.
fn measure(args: &RunArgs) -> Result<bool, Failure> {
    let setup = Setup {
        bin_dir: args.bin_dir.clone(),
        quick: args.quick,
        shards: args.shards,
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
        eprintln!("fleet-bench: a requirement is not met; see the tables");
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

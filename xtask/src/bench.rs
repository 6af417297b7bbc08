//! `cargo xtask bench`.

use std::process::Command;

use fleet_harness::Cargo;
use fleet_harness::Failure;
use fleet_harness::Interrupt;
use fleet_harness::Job;

/// The packages to build and measure. They are built in release mode, as shipped.
const PACKAGES: [&str; 5] =
    ["fleet-webhook-api", "fleet-consumer", "fleet-amqp-bridge", "fleet-query-api", "fleet-bench"];

/// The output folder inside the target folder.
const OUT: &str = "bench";

/// The document that `--record` updates.
const DOCUMENT: &str = "docs/performance.md";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Cases to run: ingest, ingest-always, ingest-replicated, drain, drain-two, bomb, idle, freshness, slow-clients, refused, tiny-events, replay, amqp, query, sizing [default: all].
    cases: Vec<String>,
    /// Run one small round to check that the benchmark works. Its figures are meaningless and are not judged.
    #[arg(long)]
    quick: bool,
    /// How many rounds to run. A round runs each case and its reference once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// How many shards each provider has, on the one Redis of the benchmark.
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: u8,
    /// Also write the tables into docs/performance.md.
    #[arg(long)]
    record: bool,
}

/// Builds the binaries and runs the benchmark.
pub(crate) fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut build = cargo.command(&["build", "--release"]);
    build.args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    Job::run("cargo build --release", &mut build, interrupt)?;
    // The release binaries are in a folder beside this program's own.
    let target = cargo.bin_dir().parent().unwrap_or(cargo.bin_dir());
    let release = target.join("release");
    let mut bench = Command::new(release.join("fleet-bench"));
    bench
        .arg("run")
        .args(&args.cases)
        .args(["--rounds", &args.rounds.to_string(), "--shards", &args.shards.to_string()])
        .arg("--bin-dir")
        .arg(&release)
        .arg("--out")
        .arg(target.join(OUT))
        .args(["--command", &command_line()])
        .args([
            "--commit",
            &commit(cargo),
            "--compiler",
            &first_line(Command::new("rustc").arg("--version")),
        ]);
    if args.quick {
        bench.arg("--quick");
    }
    if args.record {
        bench.arg("--record").arg(cargo.workspace().join(DOCUMENT));
    }
    Job::run("fleet-bench", &mut bench, interrupt)
}

/// The command as the user typed it.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask {}", arguments.join(" "))
}

/// The commit that is measured, marked as dirty if the working tree differs from it.
fn commit(cargo: &Cargo) -> String {
    let mut git = Command::new("git");
    first_line(git.current_dir(cargo.workspace()).args(["describe", "--always", "--dirty", "--exclude", "*"]))
}

/// The first line of the output, or "unknown": the benchmark also runs where git or rustc is missing.
fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.as_deref().and_then(|text| text.lines().next()).unwrap_or("unknown").to_owned()
}

//! `cargo xtask test`.

use std::path::Path;

use fleet_harness::{Cargo, Failure, Interrupt, Job, build};
use fleet_testbed::{Progress, REDIS_SERVER_VARIABLE, RedisServer, Root, Services, Tools, schemathesis};

/// Tells the tests which folder contains the binaries to start.
const BIN_DIR_VARIABLE: &str = "FLEET_TEST_BIN_DIR";

/// Tells the tests which folder contains the binaries with failpoints.
const FAILPOINTS_BIN_DIR_VARIABLE: &str = "FLEET_TEST_FAILPOINTS_BIN_DIR";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server for the queues, if the tests start it: redis, valkey or redis7.
    #[arg(long, default_value = "redis", value_parser = server)]
    redis: RedisServer,
    /// Arguments for `cargo test`, as in `cargo xtask test -p fleet-queue -- --nocapture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

impl Args {
    /// Arguments that run every test.
    pub(crate) fn everything() -> Self {
        Self { redis: RedisServer::default(), cargo_test: Vec::new() }
    }

    /// Arguments that run the queues' tests on another server. They select no package: with another selection, cargo would
    /// compile the dependencies again, with other features.
    fn queues_on(redis: RedisServer) -> Self {
        let cargo_test = ["--test", "fleet", "--", "queue::"].map(str::to_owned).into();
        Self { redis, cargo_test }
    }

    /// Whether the arguments may select tests of a package whose name contains `package`.
    fn may_test(&self, package: &str) -> bool {
        !names_package(&self.cargo_test) || self.cargo_test.iter().any(|argument| argument.contains(package))
    }
}

/// Builds the binaries, downloads the tools, starts the servers and runs the tests. Without arguments, runs the queues'
/// tests once more on each of the other servers.
pub(crate) fn run(args: &Args, cargo: &Cargo, interrupt: &Interrupt) -> Result<(), Failure> {
    let with_failpoints = if args.may_test("fleet-chaos") {
        Some(build::with_failpoints(cargo, interrupt)?)
    } else {
        build::debug(cargo, interrupt)?;
        None
    };
    if args.may_test("fleet-integration") || args.may_test("fleet-rehearsal") {
        // The tests that render deploy/k8s or start a Valkey would download them too, but without printing
        // anything.
        Tools::ensure(&Progress::stderr())?;
        drop(schemathesis(&Progress::stderr())?);
        // Without root, the tests that start a Valkey fail and explain it. All others run with external
        // servers.
        drop(Root::valkey(&Progress::stderr()));
        drop(Root::redis_7(&Progress::stderr()));
    }
    let are_private = run_built(args, with_failpoints.as_deref(), cargo, interrupt)?;
    if args.cargo_test.is_empty() && are_private {
        for redis in RedisServer::ALL.into_iter().filter(|&redis| redis != args.redis) {
            run_built(&Args::queues_on(redis), None, cargo, interrupt)?;
        }
    }
    Ok(())
}

/// Starts the servers and runs the tests with binaries that are built. Returns whether the servers were private ones.
fn run_built(
    args: &Args,
    with_failpoints: Option<&Path>,
    cargo: &Cargo,
    interrupt: &Interrupt,
) -> Result<bool, Failure> {
    let services = Services::start_for_tests(args.redis)?;
    let mut command = cargo.command(&["test"]);
    if !names_package(&args.cargo_test) {
        command.arg("--workspace");
    }
    command
        .args(&args.cargo_test)
        .envs(services.variables())
        .env(BIN_DIR_VARIABLE, cargo.bin_dir())
        // Servers of a developer's own may be any.
        .envs(services.are_private().then(|| (REDIS_SERVER_VARIABLE, args.redis.short_name())))
        .envs(with_failpoints.map(|folder| (FAILPOINTS_BIN_DIR_VARIABLE, folder)));
    Job::run("cargo test", &mut command, interrupt)?;
    Ok(services.are_private())
}

fn server(name: &str) -> Result<RedisServer, String> {
    RedisServer::from_name(name).ok_or_else(|| "use redis, valkey or redis7".to_owned())
}

/// Whether cargo's own arguments select packages.
fn names_package(arguments: &[String]) -> bool {
    let cargos = arguments.iter().take_while(|argument| *argument != "--");
    cargos.into_iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use fleet_testbed::RedisServer;

    use super::{Args, names_package};

    #[test]
    fn only_cargos_own_arguments_choose_packages() {
        let names = |arguments: &[&str]| {
            names_package(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
        };
        assert!(names(&["-p", "fleet-queue"]));
        assert!(names(&["--package=fleet-queue"]));
        assert!(!names(&["some_test", "--", "-p"]));
    }

    #[test]
    fn one_other_package_needs_no_tools() {
        let needed = |arguments: &[&str]| {
            let cargo_test = arguments.iter().map(|&argument| argument.to_owned()).collect();
            Args { redis: RedisServer::default(), cargo_test }.may_test("fleet-integration")
        };
        assert!(Args::everything().may_test("fleet-integration"));
        assert!(needed(&["-p", "fleet-integration"]) && needed(&["--", "k8s"]));
        assert!(!needed(&["-p", "fleet-queue"]));
    }
}

//! `fleet-consumer`: stores the queued webhooks; and the commands that operators need.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_consumer::commands::dead_letters::arguments::{self as dead_letters, DeadLetterCommand};
use fleet_consumer::commands::explain::arguments::{self as explain, ExplainArguments};
use fleet_consumer::commands::replay::arguments::{self as replay, ReplayArguments};
use fleet_consumer::commands::trace::arguments::{self as trace, TraceArguments};
use fleet_consumer::commands::{accept_loss, audit, migrate, retention};
use fleet_consumer::connect;
use fleet_consumer::isolate::child;
use fleet_consumer::metrics::BUCKETS;
use fleet_consumer::open_files;
use fleet_consumer::service;
use fleet_runtime::cli::{self, ConfigFile};
use fleet_runtime::service::Service;
use fleet_runtime::settings::Settings;

/// It gives memory back to the system when a backlog is done; the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stores the queued webhooks: current state in PostgreSQL, raw events in TimescaleDB.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    invocation: Option<Invocation>,
}

#[derive(Subcommand)]
enum Invocation {
    #[command(flatten)]
    Configured(Command),
    /// Parse messages that may crash this process. The consumer starts this child; it has no configuration.
    #[command(name = child::COMMAND, hide = true)]
    ParseIsolated {
        /// Slug of the provider.
        provider: String,
        /// The retention of telemetry, in seconds.
        max_age_s: i64,
    },
}

#[derive(Subcommand)]
enum Command {
    /// Consume the queues (the default).
    Run,
    /// Migrate both databases to the schema that this version needs.
    Migrate,
    /// Delete telemetry, dead letters, settled batches and notes for `trace` that are past their retention.
    Retention,
    /// Print the ledgers of the queues and databases. Exit status 1 if they do not balance.
    Audit,
    /// Accept the webhooks that `audit` reports as unaccounted for, after you have decided what to do about them.
    AcceptLoss,
    /// List dead letters, put them back into their queues, or delete them.
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Print which message set each attribute of a vehicle, and why later messages did not change it.
    Explain(ExplainArguments),
    /// Parse stored telemetry again, after a parser was fixed, and merge it into the current state.
    Replay(ReplayArguments),
    /// Print what became of a webhook. Exit status 1 if it is not found.
    Trace(TraceArguments),
    /// Print the effective configuration, with secrets redacted, and its errors.
    CheckConfig,
    /// Check whether the consumer that runs with this configuration is ready. Exit status 1 if not.
    Health,
}

/// The running program, even if another version has replaced its file.
const OWN_PROGRAM: &str = "/proc/self/exe";

const SERVICE: Service = Service { program: "fleet-consumer", default_admin_port: 9091, buckets: &BUCKETS };

fn main() -> ExitCode {
    cli::main(|Arguments { config, invocation }| {
        let command = match invocation {
            Some(Invocation::ParseIsolated { provider, max_age_s }) => {
                return parse_isolated(&provider, max_age_s);
            }
            Some(Invocation::Configured(command)) => command,
            None => Command::Run,
        };
        SERVICE.with_settings(&config, |settings| execute(settings, command))
    })
}

fn execute(settings: &Settings, command: Command) -> ExitCode {
    match (command, connect::check(settings)) {
        (Command::Health, _) => SERVICE.health(settings),
        (Command::CheckConfig, checked) => SERVICE.check_config(settings, checked),
        (_, Err(error)) => SERVICE.refuse(error),
        (Command::Run, Ok(())) => match open_files::prepare(settings) {
            Ok(()) => cli::block_on(settings, run(settings)),
            Err(error) => SERVICE.refuse(error),
        },
        (Command::Migrate, Ok(())) => cli::block_on(settings, migrate::run(settings)),
        (Command::Retention, Ok(())) => cli::block_on(settings, retention::run(settings)),
        (Command::Audit, Ok(())) => cli::block_on(settings, audit::run(settings)),
        (Command::AcceptLoss, Ok(())) => cli::block_on(settings, accept_loss::run(settings)),
        (Command::DeadLetters(command), Ok(())) => {
            cli::block_on(settings, dead_letters::run(settings, command))
        }
        (Command::Explain(arguments), Ok(())) => cli::block_on(settings, explain::run(settings, arguments)),
        (Command::Replay(arguments), Ok(())) => cli::block_on(settings, replay::run(settings, arguments)),
        (Command::Trace(arguments), Ok(())) => cli::block_on(settings, trace::run(settings, arguments)),
    }
}

fn parse_isolated(provider: &str, max_age_s: i64) -> ExitCode {
    let Some(provider) = fleet_providers::provider(provider) else {
        return cli::refuse_command_line(format_args!("there is no provider {provider}"));
    };
    match child::serve(provider, max_age_s) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::fail(error),
    }
}

async fn run(settings: &Settings) -> ExitCode {
    let admin = SERVICE.admin_address(settings);
    let work = async |readiness, shutdown| {
        tracing::info!(%admin, "starting");
        match service::run(settings, OWN_PROGRAM.into(), readiness, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.is_configuration() => SERVICE.refuse(error),
            Err(error) => cli::fail(error),
        }
    };
    SERVICE.run(settings, work).await
}

//! `fleet-consumer`: stores the queued webhooks; and the commands that operators need.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

mod commands;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use commands::dead_letters::{self, DeadLetterCommand};
use commands::explain::{self, ExplainArguments};
use commands::replay::{self, ReplayArguments};
use commands::trace::{self, TraceArguments};
use fleet_consumer::audit::Audit;
use fleet_consumer::judge;
use fleet_consumer::metrics::BUCKETS;
use fleet_consumer::service::{self, Databases};
use fleet_runtime::cli::{self, ConfigFile};
use fleet_runtime::service::Service;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_store::{RetentionPeriods, Schema, StoreError};

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
    /// Parse messages that may end this process: the consumer's own child, which has no configuration.
    #[command(name = judge::COMMAND, hide = true)]
    ParseSuspects {
        /// Slug of the provider.
        provider: String,
        /// The retention of telemetry, seconds.
        max_age_s: i64,
    },
}

#[derive(Subcommand)]
enum Command {
    /// Consume (the default).
    Run,
    /// Bring both databases to the schema this version needs.
    Migrate,
    /// Remove telemetry, dead letters, settled batches and notes for `trace` that are past their retention.
    Retention,
    /// Print the queues' and the databases' ledgers; exit status 1 if they do not balance.
    Audit,
    /// Take note of webhooks that `audit` calls unaccounted for, after you have decided what to do about them.
    AcceptLoss,
    /// Look at dead letters, put them back into their queues, or remove them.
    #[command(subcommand)]
    DeadLetters(DeadLetterCommand),
    /// Say where each attribute of a vehicle comes from, and why later messages did not change it.
    Explain(ExplainArguments),
    /// Parse stored telemetry again, after a parser was fixed, and raise the current state to what it says.
    Replay(ReplayArguments),
    /// Tell where a webhook ended; exit status 1 if it is nowhere.
    Trace(TraceArguments),
    /// Print the configuration in effect, secrets redacted, and say what is wrong with it.
    CheckConfig,
    /// Ask the consumer that runs with this configuration whether it is ready; exit status 1 if not.
    Health,
}

/// This very program, also if its file was replaced by another version since.
const OWN_PROGRAM: &str = "/proc/self/exe";

const SERVICE: Service = Service { program: "fleet-consumer", default_admin_port: 9091, buckets: &BUCKETS };

fn main() -> ExitCode {
    cli::main(|Arguments { config, invocation }| {
        let command = match invocation {
            Some(Invocation::ParseSuspects { provider, max_age_s }) => {
                return parse_suspects(&provider, max_age_s);
            }
            Some(Invocation::Configured(command)) => command,
            None => Command::Run,
        };
        SERVICE.with_settings(&config, |settings| execute(settings, command))
    })
}

fn execute(settings: &Settings, command: Command) -> ExitCode {
    match (command, service::check(settings)) {
        (Command::Health, _) => SERVICE.health(settings),
        (Command::CheckConfig, checked) => SERVICE.check_config(settings, checked),
        (_, Err(error)) => SERVICE.refuse(error),
        (Command::Run, Ok(())) => cli::block_on(settings, run(settings)),
        (Command::Migrate, Ok(())) => cli::block_on(settings, migrate(settings)),
        (Command::Retention, Ok(())) => cli::block_on(settings, retention(settings)),
        (Command::Audit, Ok(())) => cli::block_on(settings, audit(settings)),
        (Command::AcceptLoss, Ok(())) => cli::block_on(settings, accept_loss(settings)),
        (Command::DeadLetters(command), Ok(())) => {
            cli::block_on(settings, dead_letters::run(settings, command))
        }
        (Command::Explain(arguments), Ok(())) => cli::block_on(settings, explain::run(settings, arguments)),
        (Command::Replay(arguments), Ok(())) => cli::block_on(settings, replay::run(settings, arguments)),
        (Command::Trace(arguments), Ok(())) => cli::block_on(settings, trace::run(settings, arguments)),
    }
}

fn parse_suspects(provider: &str, max_age_s: i64) -> ExitCode {
    let Some(provider) = fleet_providers::provider(provider) else {
        return cli::refuse_command_line(format_args!("there is no provider {provider}"));
    };
    match judge::serve(provider, max_age_s) {
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

async fn migrate(settings: &Settings) -> ExitCode {
    let telemetry_url = settings.telemetry_database_url.as_ref().unwrap_or(&settings.database_url);
    for (schema, url) in [(Schema::State, &settings.database_url), (Schema::Telemetry, telemetry_url)] {
        match fleet_store::migrate_trusting(settings.tls.ca_file.as_deref(), url.expose(), schema).await {
            Ok(applied) if applied.is_empty() => print(format_args!("{schema:?} at {url}: nothing to do")),
            Ok(applied) => print(format_args!("{schema:?} at {url}: applied {}", applied.join(", "))),
            Err(error) => return cli::fail(format!("{schema:?} at {url}: {error}")),
        }
    }
    ExitCode::SUCCESS
}

async fn retention(settings: &Settings) -> ExitCode {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    let periods = RetentionPeriods {
        telemetry: days(settings.retention.telemetry_days),
        dead_letters: days(settings.retention.dead_letter_days),
        settled_batches: days(settings.retention.settled_batch_days),
    };
    let expire = async || -> Result<_, StoreError> {
        let databases = Databases::new(settings)?;
        fleet_store::expire(&databases.state, &databases.telemetry, periods).await
    };
    match expire().await {
        Ok(expired) => {
            let fleet_store::Expired { chunks, dead_letters, settled_batches, unstored_messages } = expired;
            print(format_args!(
                "removed {chunks} days of telemetry, {dead_letters} dead letters, {settled_batches} settled batches, notes of \
                 {unstored_messages} messages"
            ));
            ExitCode::SUCCESS
        }
        Err(error) => cli::fail(error),
    }
}

async fn audit(settings: &Settings) -> ExitCode {
    match Audit::read(settings).await {
        Ok(audit) => {
            print(&audit);
            if !audit.balances() {
                cli::fail(
                    "the ledger does not balance: something else writes to these keys or tables, or a message was lost",
                )
            } else if audit.loses_at_restart() {
                cli::fail(
                    "the ledger balances, and the next restart of Redis would drop the queues: see above",
                )
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => cli::fail(error),
    }
}

async fn accept_loss(settings: &Settings) -> ExitCode {
    match fleet_consumer::accept_loss(settings).await {
        Ok(accepted) if accepted.is_empty() => {
            print("nothing is unaccounted for");
            ExitCode::SUCCESS
        }
        Ok(accepted) => {
            for (queue, messages) in accepted {
                print(format_args!("{queue}: took note of up to {messages} lost webhooks"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => cli::fail(error),
    }
}

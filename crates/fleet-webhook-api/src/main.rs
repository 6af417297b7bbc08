//! `fleet-webhook-api`: pushes webhooks into Redis and responds as soon as Redis has stored them.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_runtime::cli::{self, ConfigFile};
use fleet_runtime::service::{Service, bind};
use fleet_runtime::settings::{Settings, SettingsError};
use fleet_webhook_api::metrics::BUCKETS;
use fleet_webhook_api::source_settings::{SourceSettings, source_settings};
use fleet_webhook_api::{memory, open_files, server};

/// Returns memory to the system after a flood of connections or bodies; the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Receives the vehicle providers' webhooks and responds as soon as Redis has stored them.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Serve webhooks (the default).
    Serve,
    /// Print the configuration in effect, secrets redacted, and say what is wrong with it.
    CheckConfig,
    /// Ask the running API with this configuration whether it is ready; exit status 1 if not.
    Health,
}

const SERVICE: Service =
    Service { program: "fleet-webhook-api", default_admin_port: 9090, buckets: &BUCKETS };

fn main() -> ExitCode {
    cli::main(|Arguments { config, command }| {
        SERVICE.with_settings(&config, |settings| execute(settings, command.unwrap_or(Command::Serve)))
    })
}

fn execute(settings: &Settings, command: Command) -> ExitCode {
    match command {
        Command::CheckConfig => SERVICE.check_config(settings, prepare(settings).map(drop)),
        Command::Health => SERVICE.health(settings),
        Command::Serve => match prepare(settings) {
            Ok(sources) => cli::block_on(settings, serve(settings, sources)),
            Err(error) => SERVICE.refuse(error),
        },
    }
}

/// Checks everything that the start and `check-config` refuse.
fn prepare(settings: &Settings) -> Result<Vec<SourceSettings>, SettingsError> {
    let sources = source_settings(settings)?;
    open_files::prepare(settings)?;
    Ok(sources)
}

async fn serve(settings: &Settings, sources: Vec<SourceSettings>) -> ExitCode {
    let webhooks = match bind(settings.api.listen, settings.api.listen_backlog, "FLEET_API__LISTEN") {
        Ok(webhooks) => webhooks,
        Err(status) => return status,
    };
    let admin = SERVICE.admin_address(settings);
    let work = async |readiness, shutdown| {
        let most_memory_mib = memory::most_bytes(settings) >> 20;
        let providers = sources.len();
        tracing::info!(webhooks = %settings.api.listen, %admin, providers, most_memory_mib, "serving");
        match server::run(settings, sources, webhooks, readiness, shutdown).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => cli::fail("stopped before every request was answered; see the log for why"),
            Err(error) if error.is_permanent() => SERVICE.refuse(error),
            Err(error) => cli::fail(error),
        }
    };
    SERVICE.run(settings, work).await
}

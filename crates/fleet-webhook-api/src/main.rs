//! `fleet-webhook-api`: takes webhooks into Redis and answers at once.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use fleet_runtime::admin::{self, serve_admin};
use fleet_runtime::http::listen;
use fleet_runtime::metrics::collect_metrics;
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::{Settings, SettingsError};
use fleet_runtime::{cli, health, shutdown};
use fleet_webhook_api::metrics::BUCKETS;
use fleet_webhook_api::source_settings::{SourceSettings, source_settings};
use fleet_webhook_api::{memory, open_files, server};
use tokio::net::TcpListener;

/// It gives memory back to the system when a flood of connections or bodies is over; the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes the vehicle providers' webhooks into Redis and answers at once.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// TOML file with settings; FLEET_… variables win over it.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve webhooks (the default).
    Serve,
    /// Print the configuration in effect, secrets redacted, and say what is wrong with it.
    CheckConfig,
    /// Ask the API that runs with this configuration whether it is ready; exit status 1 if not.
    Health,
}

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

const PROGRAM: &str = "fleet-webhook-api";

fn main() -> ExitCode {
    cli::main(execute)
}

fn execute(arguments: Arguments) -> ExitCode {
    let settings = match cli::start(PROGRAM, arguments.config.as_deref()) {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    match arguments.command.unwrap_or(Command::Serve) {
        Command::CheckConfig => {
            cli::print_settings(&settings);
            prepare(&settings).map_or_else(|error| cli::refuse(PROGRAM, error), |_served| ExitCode::SUCCESS)
        }
        Command::Health => health::check(settings.admin.listen.unwrap_or(DEFAULT_ADMIN)),
        Command::Serve => match prepare(&settings) {
            Ok(sources) => cli::block_on(&settings, run(&settings, sources)),
            Err(error) => cli::refuse(PROGRAM, error),
        },
    }
}

/// What is refused at the start, and by `check-config`.
fn prepare(settings: &Settings) -> Result<Vec<SourceSettings>, SettingsError> {
    let sources = source_settings(settings)?;
    open_files::prepare(settings)?;
    Ok(sources)
}

async fn run(settings: &Settings, sources: Vec<SourceSettings>) -> ExitCode {
    let admin_address = settings.admin.listen.unwrap_or(DEFAULT_ADMIN);
    let (webhooks, admin) =
        match (bind(settings.api.listen, settings.api.listen_backlog), bind(admin_address, admin::BACKLOG)) {
            (Ok(webhooks), Ok(admin)) => (webhooks, admin),
            (Err(problem), _) | (_, Err(problem)) => return cli::fail(problem),
        };
    let (shutdown, metrics) = match (shutdown::on_signal(), collect_metrics(PROGRAM, &BUCKETS)) {
        (Ok(shutdown), Ok(metrics)) => (shutdown, metrics),
        (Err(error), _) => return cli::fail(format!("cannot listen for signals: {error}")),
        (_, Err(error)) => return cli::fail(format!("cannot collect metrics: {error}")),
    };
    let most_memory_mib = memory::most_bytes(settings) >> 20;
    let providers = sources.len();
    tracing::info!(webhooks = %settings.api.listen, admin = %admin_address, providers, most_memory_mib, "serving");
    let readiness = Arc::new(Readiness::default());
    // Health and metrics stay up until the last request is answered.
    let admin = match serve_admin(admin, Arc::clone(&readiness), metrics) {
        Ok(admin) => admin,
        Err(error) => return cli::fail(format!("cannot serve health and metrics: {error}")),
    };
    let result = tokio::select! {
        result = server::run(settings, sources, webhooks, readiness, shutdown) => result,
        () = admin => return cli::fail("stopped: the admin listener is gone; see the log for why"),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => cli::fail("stopped before every request was answered; see the log for why"),
        Err(error) if error.is_permanent() => cli::refuse(PROGRAM, error),
        Err(error) => cli::fail(error),
    }
}

fn bind(address: SocketAddr, backlog: u32) -> Result<TcpListener, String> {
    listen(address, backlog).map_err(|error| {
        format!("cannot listen on {address}: {error}; set FLEET_API__LISTEN or FLEET_ADMIN__LISTEN")
    })
}

//! `fleet-query-api`: answers where the vehicles are.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_query_api::metrics::BUCKETS;
use fleet_query_api::open_files;
use fleet_query_api::server::{self, Prepared};
use fleet_runtime::cli::{self, ConfigFile};
use fleet_runtime::service::{Service, bind_with_buffer};
use fleet_runtime::settings::{Settings, SettingsError};

/// Returns memory to the system after a flood of connections; the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most bytes of responses that the kernel buffers for a connection: pages of vehicles over networks with a delay.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Answers where the vehicles of the fleet are, over HTTP, as a stream of changes, and on a map.
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
    /// Serve queries (the default).
    Serve,
    /// Print the configuration in effect, secrets redacted, and say what is wrong with it.
    CheckConfig,
    /// Ask the running service with this configuration whether it is ready; exit status 1 if not.
    Health,
}

const SERVICE: Service = Service { program: "fleet-query-api", default_admin_port: 9092, buckets: &BUCKETS };

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
            Ok(prepared) => cli::block_on(settings, serve(settings, prepared)),
            Err(error) => SERVICE.refuse(error),
        },
    }
}

/// Checks everything that the start and `check-config` refuse.
fn prepare(settings: &Settings) -> Result<Prepared, SettingsError> {
    let prepared = server::prepare(settings)?;
    open_files::prepare(settings)?;
    Ok(prepared)
}

async fn serve(settings: &Settings, prepared: Prepared) -> ExitCode {
    let query = &settings.query;
    let bound =
        bind_with_buffer(query.listen, query.listen_backlog, SEND_BUFFER_BYTES, "FLEET_QUERY__LISTEN");
    let listener = match bound {
        Ok(listener) => listener,
        Err(status) => return status,
    };
    let admin = SERVICE.admin_address(settings);
    let work = async |readiness, shutdown| {
        tracing::info!(queries = %query.listen, %admin, tokens = query.tokens.len(), "serving queries");
        if server::run(settings, prepared, listener, readiness, shutdown).await {
            ExitCode::SUCCESS
        } else {
            cli::fail("stopped before every request was answered; see the log for why")
        }
    };
    SERVICE.run(settings, work).await
}

//! `fleet-amqp-bridge`: consumes AMQP queues and pushes each message into Redis.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they block and panic: use fleet_runtime::stdout or stderr"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_amqp_bridge::bridge;
use fleet_amqp_bridge::bridge_settings::{BridgeSettings, bridge_settings};
use fleet_amqp_bridge::metrics::BUCKETS;
use fleet_runtime::cli::{self, ConfigFile};
use fleet_runtime::service::Service;
use fleet_runtime::settings::Settings;

/// Returns memory to the system after large messages; the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Consumes a vehicle provider's AMQP queues and acknowledges each message as soon as Redis has stored it.
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
    /// Consume the queues (the default).
    Consume,
    /// Print the configuration in effect, secrets redacted, and say what is wrong with it.
    CheckConfig,
    /// Ask the running bridge with this configuration whether it is ready; exit status 1 if not.
    Health,
}

const SERVICE: Service =
    Service { program: "fleet-amqp-bridge", default_admin_port: 9093, buckets: &BUCKETS };

fn main() -> ExitCode {
    cli::main(|Arguments { config, command }| {
        SERVICE.with_settings(&config, |settings| execute(settings, command.unwrap_or(Command::Consume)))
    })
}

fn execute(settings: &Settings, command: Command) -> ExitCode {
    match command {
        Command::CheckConfig => SERVICE.check_config(settings, bridge_settings(settings).map(drop)),
        Command::Health => SERVICE.health(settings),
        Command::Consume => match bridge_settings(settings) {
            Ok(bridge) => cli::block_on(settings, consume(settings, bridge)),
            Err(error) => SERVICE.refuse(error),
        },
    }
}

async fn consume(settings: &Settings, bridge: BridgeSettings) -> ExitCode {
    let admin = SERVICE.admin_address(settings);
    let work = async |readiness, shutdown| {
        let (provider, queues) = (bridge.provider.slug, bridge.queues.join(", "));
        tracing::info!(provider, queues, %admin, "consuming");
        match bridge::run(settings, &bridge, readiness, shutdown).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => cli::fail(
                "stopped before every delivered message was pushed; the broker delivers the others again",
            ),
            Err(error) if error.is_permanent() => SERVICE.refuse(error),
            Err(error) => cli::fail(error),
        }
    };
    SERVICE.run(settings, work).await
}

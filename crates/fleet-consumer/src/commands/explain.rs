//! `fleet-consumer explain`: why a vehicle is shown as it is.

use std::process::ExitCode;

use clap::Args;
use fleet_consumer::explain::{explain, unknown};
use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;

use super::provider_slug;

const EXPLANATION: &str = "\
It reads `vehicles` and `telemetry`, and changes nothing. The consumer's own login may not read telemetry: set \
FLEET_DATABASE_URL (and FLEET_TELEMETRY_DATABASE_URL, if telemetry is a database of its own) to a login that is a member \
of fleet_reader or fleet_migrator.";

/// Which vehicle.
#[derive(Args)]
#[command(after_long_help = EXPLANATION)]
pub(crate) struct ExplainArguments {
    /// The provider's name in routes: niu, segway, invers.
    #[arg(value_parser = provider_slug())]
    provider: String,
    /// The provider's own id of the vehicle: NIU sn, Segway iotCode, INVERS vehicle_id or qnr.
    vehicle: String,
}

/// Runs the command.
pub(crate) async fn run(settings: &Settings, arguments: ExplainArguments) -> ExitCode {
    let ExplainArguments { provider, vehicle } = arguments;
    let Some(provider) = fleet_providers::provider(&provider) else {
        return cli::refuse_command_line(format!("there is no provider {provider:?}"));
    };
    match explain(settings, provider, &vehicle).await {
        Ok(Some(explanation)) => {
            print(&explanation);
            ExitCode::SUCCESS
        }
        Ok(None) => {
            let vehicle_id = fleet_providers::vehicle_id(provider.slug, &vehicle);
            cli::fail(unknown(provider.slug, &vehicle, vehicle_id))
        }
        Err(error) => cli::fail(error),
    }
}

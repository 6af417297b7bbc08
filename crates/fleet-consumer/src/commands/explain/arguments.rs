//! The command line of `fleet-consumer explain`.

use std::process::ExitCode;

use crate::commands::explain::lookup::explain;
use crate::commands::explain::print::unknown;
use clap::Args;
use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;

use crate::commands::provider::provider_slug;
use crate::commands::telemetry_url::TelemetryUrl;

const EXPLANATION: &str = "\
It reads `vehicles` and `telemetry` and changes nothing. The telemetry database needs a login that is a member of \
fleet_reader or fleet_migrator, because the consumer's own login may not read telemetry. In a consumer's pod, which has no \
shell:

    printf '%s\\n' \"$URL\" | kubectl exec -i deploy/fleet-consumer -- fleet-consumer explain --telemetry-url-from-stdin niu ID";

/// Which vehicle to explain.
#[derive(Args)]
#[command(after_long_help = EXPLANATION)]
pub struct ExplainArguments {
    /// The provider's name in routes: niu, segway, invers.
    #[arg(value_parser = provider_slug())]
    provider: String,
    /// The provider's id of the vehicle: NIU sn, Segway iotCode, INVERS vehicle_id or qnr.
    vehicle: String,
    #[command(flatten)]
    telemetry: TelemetryUrl,
}

/// Runs the command.
pub async fn run(settings: &Settings, arguments: ExplainArguments) -> ExitCode {
    let ExplainArguments { provider, vehicle, telemetry } = arguments;
    let settings = match telemetry.apply(settings) {
        Ok(settings) => settings,
        Err(problem) => return cli::fail(problem),
    };
    let Some(provider) = fleet_providers::provider(&provider) else {
        return cli::refuse_command_line(format!("there is no provider {provider:?}"));
    };
    match explain(&settings, provider, &vehicle).await {
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

//! The command line of `fleet-consumer trace`.

use std::process::ExitCode;

use crate::commands::trace::find::Trace;
use crate::commands::trace::message_id::MessageId;
use clap::Args;
use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;

use crate::commands::telemetry_url::TelemetryUrl;

const EXPLANATION: &str = "\
It searches the queues and their claimed batches, telemetry, dead letters, and the notes of duplicates and of messages \
without events. It changes nothing. The exit status is 0 if the message was found, 1 if not.

The telemetry database needs a login that is a member of fleet_reader or fleet_migrator, because the consumer's own login \
may not read telemetry. Redis needs the consumer's user. In a consumer's pod, which has no shell:

    printf '%s\\n' \"$URL\" | kubectl exec -i deploy/fleet-consumer -- fleet-consumer trace --telemetry-url-from-stdin ID";

/// Which message to trace.
#[derive(Args)]
#[command(after_long_help = EXPLANATION)]
pub struct TraceArguments {
    /// The x-request-id of the response to the provider. Logs and tables call it message_id.
    #[arg(value_parser = MessageId::parse)]
    message_id: MessageId,
    #[command(flatten)]
    telemetry: TelemetryUrl,
}

/// Runs the command.
pub async fn run(settings: &Settings, arguments: TraceArguments) -> ExitCode {
    let settings = match arguments.telemetry.apply(settings) {
        Ok(settings) => settings,
        Err(problem) => return cli::fail(problem),
    };
    match Trace::read(&settings, arguments.message_id).await {
        Ok(trace) => {
            print(trace.to_string().trim_end());
            if trace.is_found() { ExitCode::SUCCESS } else { ExitCode::from(cli::EXIT_FAILURE) }
        }
        Err(error) => cli::fail(error),
    }
}

//! The command line of `fleet-consumer replay`.

use std::process::ExitCode;

use crate::commands::replay::outcome::{End, Outcome, Progress};
use crate::commands::replay::replayer::Replay;
use crate::connect::Databases;
use clap::Args;
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_runtime::{cli, shutdown};
use fleet_store::Schema;
use jiff::Timestamp;

use crate::commands::progress::ProgressLines;
use crate::commands::provider::provider_slug;
use crate::commands::time;

const EXPLANATION: &str = "\
The range is of observed_at, the vehicle's own time, because telemetry is partitioned by it. An event may have been received \
hours after it was observed: begin the range before the oldest event that was misread. A range that is too wide only \
costs time. Both ends are RFC 3339, or a date, which means 00:00 UTC.

It can run while consumers run. It can be interrupted and run again. It changes `vehicles`, and in telemetry the columns \
lat, lon, speed_kmh and battery_percent. It never changes the raw events. If an event can no longer be parsed, or now has \
another vehicle, time or id, its telemetry row stays as it is.

Each attribute keeps the greatest (time, receipt, value) ever reported, and a replay can only increase it. A misread value \
with the newest time stays until the vehicle's next report. To remove it earlier, clear it and its time before the \
replay: UPDATE vehicles SET battery_percent = NULL, battery_at = NULL WHERE …";

/// What to replay.
#[derive(Args)]
#[command(after_long_help = EXPLANATION)]
pub struct ReplayArguments {
    /// Only events observed at or after this time: 2026-01-31T12:00:00Z or 2026-01-31.
    #[arg(long, value_parser = time::parse)]
    from: Timestamp,
    /// Only events observed before this time.
    #[arg(long, value_parser = time::parse)]
    to: Timestamp,
    /// Only this provider's events.
    #[arg(long, value_parser = provider_slug())]
    provider: Option<String>,
    /// Write nothing, and print what would change.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(settings: &Settings, arguments: ReplayArguments) -> ExitCode {
    let ReplayArguments { from, to, provider, dry_run } = arguments;
    if from >= to {
        return cli::refuse_command_line(format!(
            "there is nothing between --from {from} and --to {to}: --from must be before --to"
        ));
    }
    let slug = provider.as_deref().and_then(fleet_providers::provider).map(|provider| provider.slug);
    let databases = match ready(settings).await {
        Ok(databases) => databases,
        Err(problem) => return cli::fail(problem),
    };
    let shutdown = match shutdown::on_signal() {
        Ok(shutdown) => shutdown,
        Err(error) => return cli::fail(format!("cannot listen for signals: {error}")),
    };
    let replay = Replay::new(settings, databases, from..to, slug, dry_run);
    let outcome = replay.run(&shutdown, progress_lines()).await;
    print(&outcome);
    ended(&outcome)
}

/// Both databases, if they have the schema of this version.
async fn ready(settings: &Settings) -> Result<Databases, String> {
    let databases = Databases::new(settings).map_err(|error| error.to_string())?;
    for (database, schema) in [(&databases.state, Schema::State), (&databases.telemetry, Schema::Telemetry)] {
        let missing = database.missing_migrations(schema).await.map_err(|error| error.to_string())?;
        if !missing.is_empty() {
            return Err(format!("{schema:?} lacks {}; run `fleet-consumer migrate`", missing.join(", ")));
        }
    }
    Ok(databases)
}

/// Prints progress.
fn progress_lines() -> impl FnMut(Progress) {
    let mut lines = ProgressLines::default();
    move |Progress { events, done, window_from }| {
        let rate = lines.rate(events);
        let percent = done * 100.0;
        lines.print(|| {
            format!("{events} events, {rate}/s, {percent:.1} % of the range, in what was observed from {window_from}")
        });
    }
}

fn ended(outcome: &Outcome) -> ExitCode {
    let why = match &outcome.end {
        End::Complete => return ExitCode::SUCCESS,
        End::Stopped => "stopped before the end".to_owned(),
        End::Failed(error) => format!("failed before the end: {error}"),
    };
    let from = outcome.range.start;
    let to = outcome.done_from;
    cli::fail(format!("{why}. Everything observed from {to} on is done; go on with --from {from} --to {to}"))
}

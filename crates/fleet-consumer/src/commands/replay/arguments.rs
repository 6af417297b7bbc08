//! `fleet-consumer replay`: parse stored telemetry again.

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
The range is that of observed_at, the vehicles' own time, because telemetry is stored by it. A backlog may have come in \
hours after it was observed: begin the range before the oldest event that was misread. A range that is too wide costs \
time and nothing else. Both ends are RFC 3339 or a date, which means its first moment in UTC.

It can run beside consumers, be interrupted and be run again. It changes `vehicles`, and in telemetry the columns lat, \
lon, speed_kmh and battery_percent; never the raw events. An event that cannot be parsed any more, or has another \
vehicle, time or id now, keeps its telemetry row as it is.

Each attribute is the greatest (time, receipt, value) ever reported, and a replay can only raise it. A value that was misread and \
stands with the newest time stays until the vehicle's next report, or until you clear it, with its time, before the \
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
    /// Write nothing, and show what would change.
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

/// Lines for an operator who waits.
fn progress_lines() -> impl FnMut(Progress) {
    let mut lines = ProgressLines::default();
    move |Progress { events, done, window_from }| {
        let rate = lines.rate(events);
        let percent = done * 100.0;
        lines.tell(|| {
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

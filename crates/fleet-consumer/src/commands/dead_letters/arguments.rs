//! The command line of `fleet-consumer dead-letters`.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use fleet_runtime::settings::Settings;
use fleet_runtime::{cli, shutdown};
use fleet_store::{DeadLetterFilter, DeadLetterStore};
use jiff::Timestamp;
use uuid::Uuid;

use crate::batch::rejection::reasons;
use crate::commands::dead_letters::print::{list, show, totals};
use crate::commands::dead_letters::purge::purge;
use crate::commands::dead_letters::replay::replay;
use crate::commands::provider::provider_slug;
use crate::commands::time;
use crate::connect::Databases;
use crate::error::ConsumerError;

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// Print one line for each dead letter.
    List {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// The most lines to print.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Print all dead letters of a message, and its envelope with the first 4096 bytes of the body.
    Show {
        /// The id of the message: the x-request-id of the response to the provider.
        message_id: Uuid,
        /// Print the whole body.
        #[arg(long)]
        full: bool,
    },
    /// Put whole messages back into their queues, and delete all their dead letters. Safe to repeat.
    Replay {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// Only print how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete dead letters for good.
    Purge {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// Only print how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters to select.
#[derive(Args)]
pub struct Filter {
    /// Only of this provider.
    #[arg(long, value_parser = provider_slug())]
    provider: Option<String>,
    /// Only with this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(reasons()))]
    reason: Option<String>,
    /// Only those last stored at or after this time: 2026-01-31T12:00:00Z, or 2026-01-31 for 00:00 UTC.
    #[arg(long, value_parser = time::parse)]
    since: Option<Timestamp>,
    /// Only those last stored before this time.
    #[arg(long, value_parser = time::parse)]
    until: Option<Timestamp>,
    /// Only of this message.
    #[arg(long)]
    message_id: Option<Uuid>,
}

impl From<Filter> for DeadLetterFilter {
    fn from(filter: Filter) -> Self {
        let Filter { provider, reason, since, until, message_id } = filter;
        Self { provider, reason, since, until, message_id }
    }
}

/// Runs the command.
pub async fn run(settings: &Settings, command: DeadLetterCommand) -> ExitCode {
    let result = match Databases::new(settings) {
        Ok(databases) => execute(settings, &DeadLetterStore::new(databases.telemetry), command).await,
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(cli::fail)
}

async fn execute(
    settings: &Settings,
    store: &DeadLetterStore,
    command: DeadLetterCommand,
) -> Result<ExitCode, ConsumerError> {
    match command {
        DeadLetterCommand::List { filter, limit } => list(store, &filter.into(), limit).await?,
        DeadLetterCommand::Show { message_id, full } => return show(store, message_id, full).await,
        DeadLetterCommand::Replay { filter, dry_run: false } => {
            return unless_stopped(replay(settings, store, filter.into())).await;
        }
        DeadLetterCommand::Purge { filter, dry_run: false } => {
            return unless_stopped(purge(store, filter.into())).await;
        }
        DeadLetterCommand::Replay { filter, dry_run: true }
        | DeadLetterCommand::Purge { filter, dry_run: true } => totals(store, &filter.into()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that changes something until it is done or a signal arrives. It can be stopped anywhere.
async fn unless_stopped(
    work: impl Future<Output = Result<(), ConsumerError>>,
) -> Result<ExitCode, ConsumerError> {
    let shutdown = match shutdown::on_signal() {
        Ok(shutdown) => shutdown,
        Err(error) => return Ok(cli::fail(format!("cannot listen for signals: {error}"))),
    };
    tokio::select! {
        result = work => result.map(|()| ExitCode::SUCCESS),
        () = shutdown.cancelled() => {
            Ok(cli::fail("stopped before the end; what is done stays done. Run the command again for the rest"))
        }
    }
}

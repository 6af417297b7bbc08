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
    /// Show a line each.
    List {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// Most lines.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Show all dead letters of a message, and its envelope with the first 4096 bytes of the body.
    Show {
        /// The message's id, which the provider got as x-request-id.
        message_id: Uuid,
        /// Show the whole body.
        #[arg(long)]
        full: bool,
    },
    /// Put the messages back into their queues, whole, and forget all their dead letters; safe to repeat.
    Replay {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove them for good.
    Purge {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters are meant.
#[derive(Args)]
pub struct Filter {
    /// Only this provider's.
    #[arg(long, value_parser = provider_slug())]
    provider: Option<String>,
    /// Only with this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(reasons()))]
    reason: Option<String>,
    /// Only those that died at or after this time: 2026-01-31T12:00:00Z, or 2026-01-31 for its first moment in UTC.
    #[arg(long, value_parser = time::parse)]
    since: Option<Timestamp>,
    /// Only those that died before this time.
    #[arg(long, value_parser = time::parse)]
    until: Option<Timestamp>,
    /// Only this message's.
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

/// Both that change something can be cut off anywhere.
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
            Ok(cli::fail("stopped before the end; what was done stays done, run it again for the rest"))
        }
    }
}

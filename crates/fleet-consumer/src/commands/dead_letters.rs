//! `fleet-consumer dead-letters`: list, show, replay, purge.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::Table;
use fleet_consumer::service::{ConsumerError, Databases};
use fleet_queue::{Producer, RedisLink};
use fleet_runtime::cli;
use fleet_runtime::settings::Settings;
use fleet_store::{
    Database, DeadLetterFilter, StoredDeadLetter, count_dead_letters, dead_letters, forget_dead_letters,
    purge_dead_letters,
};
use jiff::Timestamp;
use uuid::Uuid;

/// Dead letters that are read, and pushed, at a time: together they are far below Redis' limits.
const PAGE: i64 = 20;

/// What to do with dead letters.
#[derive(Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// Show a line each.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Most lines.
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// Show a message's dead letters with their envelope.
    Show {
        /// The message's id, which the provider got as x-request-id.
        message_id: Uuid,
    },
    /// Put the messages back into their queues; safe to repeat.
    Replay {
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove them for good.
    Purge {
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters are meant.
#[derive(Args)]
pub(crate) struct Filter {
    /// Only this provider's.
    #[arg(long)]
    provider: Option<String>,
    /// Only with this reason.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(fleet_consumer::batch::reasons()))]
    reason: Option<String>,
    /// Only those that died at or after this time, such as 2026-01-31T12:00:00Z.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only those that died before this time.
    #[arg(long)]
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
pub(crate) async fn run(settings: &Settings, command: DeadLetterCommand) -> ExitCode {
    let result = match Databases::new(settings) {
        Ok(databases) => execute(settings, &databases.telemetry, command).await,
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(cli::fail)
}

async fn execute(
    settings: &Settings,
    telemetry: &Database,
    command: DeadLetterCommand,
) -> Result<ExitCode, ConsumerError> {
    match command {
        DeadLetterCommand::List { filter, limit } => list(telemetry, &filter.into(), limit).await?,
        DeadLetterCommand::Show { message_id } => return show(telemetry, message_id).await,
        DeadLetterCommand::Replay { filter, dry_run: false } => {
            replay(settings, telemetry, &filter.into()).await?;
        }
        DeadLetterCommand::Purge { filter, dry_run: false } => {
            println!("removed {} dead letters", purge_dead_letters(telemetry, &filter.into()).await?);
        }
        DeadLetterCommand::Replay { filter, dry_run: true }
        | DeadLetterCommand::Purge { filter, dry_run: true } => {
            println!("{} dead letters", count_dead_letters(telemetry, &filter.into()).await?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(telemetry: &Database, filter: &DeadLetterFilter, limit: i64) -> Result<(), ConsumerError> {
    let mut table = Table::new();
    table.set_header(["message", "event", "provider", "reason", "tries", "last", "detail"]);
    for letter in dead_letters(telemetry, filter, None, limit).await? {
        table.add_row([
            letter.message_id.to_string(),
            letter.event_index.to_string(),
            letter.provider,
            letter.reason,
            letter.attempts.to_string(),
            format!("{:.0}", letter.last_dead_at),
            letter.detail,
        ]);
    }
    println!("{table}\n{} in all", count_dead_letters(telemetry, filter).await?);
    Ok(())
}

async fn show(telemetry: &Database, message_id: Uuid) -> Result<ExitCode, ConsumerError> {
    let filter = DeadLetterFilter { message_id: Some(message_id), ..DeadLetterFilter::default() };
    let letters = dead_letters(telemetry, &filter, None, PAGE).await?;
    for letter in &letters {
        println!(
            "event {}: {} ({}), tried {} times, last at {}",
            letter.event_index, letter.reason, letter.detail, letter.attempts, letter.last_dead_at
        );
    }
    match letters.first() {
        // Escaped: a body may hold anything, also what drives a terminal.
        Some(letter) => println!("{}", letter.envelope.escape_ascii().to_string().replace("\\n", "\n")),
        None => {
            return Ok(cli::fail(format!("there is no dead letter of message {message_id}; see `list`")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay(
    settings: &Settings,
    telemetry: &Database,
    filter: &DeadLetterFilter,
) -> Result<(), ConsumerError> {
    let total = count_dead_letters(telemetry, filter).await?;
    let link = Arc::new(RedisLink::trusting(
        settings.tls.ca_file.as_deref(),
        settings.redis_url.expose(),
        settings.queue.timeout,
    )?);
    let (mut after, mut seen, mut messages) = (None, 0, 0);
    loop {
        let page = dead_letters(telemetry, filter, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.message_id, last.event_index));
        seen += page.len();
        messages += push(&link, &settings.queue.prefix, &page).await?;
        // Only now: were it the other way round, a crash in between would lose them.
        forget_dead_letters(telemetry, &page).await?;
        eprintln!("{seen} of {total} dead letters");
    }
    println!("put {messages} messages of {seen} dead letters back into their queues");
    Ok(())
}

/// Pushes each message of a page once, however many of its events died.
async fn push(
    link: &Arc<RedisLink>,
    prefix: &str,
    page: &[StoredDeadLetter],
) -> Result<usize, ConsumerError> {
    let mut messages: BTreeMap<(&str, Uuid), Vec<u8>> = BTreeMap::new();
    for letter in page {
        messages.insert((&letter.provider, letter.message_id), letter.envelope.clone());
    }
    let count = messages.len();
    let mut queues: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for ((provider, _message_id), envelope) in messages {
        queues.entry(provider).or_default().push(envelope);
    }
    for (provider, envelopes) in queues {
        Producer::new(Arc::clone(link), prefix, provider).push(&envelopes).await?;
    }
    Ok(count)
}

//! `fleet-consumer dead-letters`: list, show, replay, purge.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::Table;
use fleet_consumer::service::{ConsumerError, Databases};
use fleet_queue::{Envelope, Producer, RedisLink};
use fleet_runtime::settings::Settings;
use fleet_runtime::stdout::print;
use fleet_runtime::{cli, shutdown};
use fleet_store::{DeadLetterFilter, DeadLetterStore, DeadLetterTotals, DeadMessage};
use jiff::Timestamp;
use uuid::Uuid;

use super::progress::ProgressLines;
use super::{provider_slug, time};

/// Dead letters that are shown from one answer.
const PAGE: i64 = 500;
/// Messages that are read, and pushed, at a time: together they are far below Redis' limits.
const MESSAGES: i64 = 20;
/// Bytes of a body that `show` prints unless it is told to print all: enough to see what is wrong, and few enough for a
/// terminal.
const SHOWN_BYTES: usize = 4096;

/// What to do with dead letters.
#[derive(Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// Show a line each.
    List {
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
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove them for good.
    Purge {
        #[command(flatten)]
        filter: Filter,
        /// Only say how many there are, by provider and reason.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which dead letters are meant.
#[derive(Args)]
pub(crate) struct Filter {
    /// Only this provider's.
    #[arg(long, value_parser = provider_slug())]
    provider: Option<String>,
    /// Only with this reason.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(fleet_consumer::batch::reasons()))]
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
pub(crate) async fn run(settings: &Settings, command: DeadLetterCommand) -> ExitCode {
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

async fn list(store: &DeadLetterStore, filter: &DeadLetterFilter, limit: i64) -> Result<(), ConsumerError> {
    let mut table = Table::new();
    table.set_header(["message", "event", "provider", "reason", "tries", "last", "detail"]);
    for letter in store.page(filter, None, limit).await? {
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
    print(format_args!("{table}\n{} in all", store.count(filter).await?));
    Ok(())
}

async fn totals(store: &DeadLetterStore, filter: &DeadLetterFilter) -> Result<(), ConsumerError> {
    let mut table = Table::new();
    table.set_header(["provider", "reason", "dead letters", "messages"]);
    let mut all = 0;
    for DeadLetterTotals { provider, reason, letters, messages } in store.totals(filter).await? {
        all += letters;
        table.add_row([provider, reason, letters.to_string(), messages.to_string()]);
    }
    let messages = store.count_messages(filter).await?;
    print(format_args!("{table}\nnothing was done: {all} dead letters of {messages} messages"));
    Ok(())
}

async fn show(store: &DeadLetterStore, message_id: Uuid, full: bool) -> Result<ExitCode, ConsumerError> {
    let filter = DeadLetterFilter { message_id: Some(message_id), ..DeadLetterFilter::default() };
    let mut after = None;
    loop {
        let page = store.page(&filter, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.message_id, last.event_index));
        for letter in page {
            print(format_args!(
                "event {}: {} ({}), tried {} times, last at {}",
                letter.event_index, letter.reason, letter.detail, letter.attempts, letter.last_dead_at
            ));
        }
    }
    match store.messages(&filter, None, 1).await?.first() {
        Some(message) => print_envelope(&message.envelope, full),
        None => {
            return Ok(cli::fail(format!("there is no dead letter of message {message_id}; see `list`")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_envelope(envelope: &[u8], full: bool) {
    // What cannot be read as an envelope is shown as a body.
    let body_bytes = Envelope::decode(envelope).map_or(envelope.len(), |envelope| envelope.body.len());
    let hidden_bytes = if full { 0 } else { body_bytes.saturating_sub(SHOWN_BYTES) };
    let shown = envelope.get(..envelope.len() - hidden_bytes).unwrap_or(envelope);
    // Escaped: a body may hold anything, also what drives a terminal.
    print(shown.escape_ascii().to_string().replace("\\n", "\n"));
    if hidden_bytes > 0 {
        print(format_args!(
            "({hidden_bytes} of the body's {body_bytes} bytes are not shown; --full shows all of them)"
        ));
    }
}

async fn purge(store: &DeadLetterStore, filter: DeadLetterFilter) -> Result<(), ConsumerError> {
    let total = store.count(&filter).await?;
    let mut lines = ProgressLines::default();
    let progress = |removed| lines.tell(|| format!("{removed} of {total} dead letters"));
    print(format_args!("removed {} dead letters", store.purge(&filter, progress).await?));
    Ok(())
}

async fn replay(
    settings: &Settings,
    store: &DeadLetterStore,
    mut filter: DeadLetterFilter,
) -> Result<(), ConsumerError> {
    // What dies again meanwhile stays: it was tried after the push.
    let start = store.now().await?;
    filter.until = Some(filter.until.map_or(start, |until| until.min(start)));
    let total = store.count_messages(&filter).await?;
    let link = Arc::new(RedisLink::open(&settings.redis())?);
    let mut lines = ProgressLines::default();
    let (mut after, mut messages, mut letters, mut foreign) = (None, 0, 0, 0);
    loop {
        let mut page = store.messages(&filter, after, MESSAGES).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.message_id);
        // Nobody would consume their queue.
        let found = page.len();
        page.retain(|message| fleet_providers::provider(&message.provider).is_some());
        foreign += found - page.len();
        let ids: Vec<_> = page.iter().map(|message| message.message_id).collect();
        push(&link, &settings.queue.prefix, page).await?;
        // Only now: were it the other way round, a crash in between would lose them.
        letters += store.forget(&ids, start).await?;
        messages += ids.len();
        lines.tell(|| format!("{messages} of {total} messages"));
    }
    print(format_args!("put {messages} messages of {letters} dead letters back into their queues"));
    if foreign > 0 {
        print(format_args!(
            "left {foreign} messages of providers that this version does not know where they are"
        ));
    }
    Ok(())
}

/// Pushes each message once, however many of its events died.
async fn push(link: &Arc<RedisLink>, prefix: &str, page: Vec<DeadMessage>) -> Result<(), ConsumerError> {
    let mut queues: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for DeadMessage { provider, envelope, .. } in page {
        queues.entry(provider).or_default().push(envelope);
    }
    for (provider, envelopes) in queues {
        Producer::new(Arc::clone(link), prefix, &provider).push(&envelopes).await?;
    }
    Ok(())
}

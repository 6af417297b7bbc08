//! Prints dead letters.

use std::process::ExitCode;

use comfy_table::Table;
use fleet_queue::Envelope;
use fleet_runtime::cli;
use fleet_runtime::stdout::print;
use fleet_store::{DeadLetterFilter, DeadLetterStore, DeadLetterTotals};
use uuid::Uuid;

use crate::error::ConsumerError;

/// How many dead letters are read at a time.
const PAGE: i64 = 500;

/// How many bytes of a body `show` prints without `--full`: enough to see what is wrong, and few enough for a terminal.
const SHOWN_BYTES: usize = 4096;

/// Prints a line for each dead letter.
pub(super) async fn list(
    store: &DeadLetterStore,
    filter: &DeadLetterFilter,
    limit: i64,
) -> Result<(), ConsumerError> {
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

/// Prints how many dead letters there are, by provider and reason.
pub(super) async fn totals(store: &DeadLetterStore, filter: &DeadLetterFilter) -> Result<(), ConsumerError> {
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

/// Prints all dead letters of a message, and its envelope.
pub(super) async fn show(
    store: &DeadLetterStore,
    message_id: Uuid,
    full: bool,
) -> Result<ExitCode, ConsumerError> {
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
    // An envelope that cannot be decoded is printed as a body.
    let body_bytes = Envelope::decode(envelope).map_or(envelope.len(), |envelope| envelope.body.len());
    let hidden_bytes = if full { 0 } else { body_bytes.saturating_sub(SHOWN_BYTES) };
    let shown = envelope.get(..envelope.len() - hidden_bytes).unwrap_or(envelope);
    // Escape it: a body may hold control sequences of terminals.
    print(shown.escape_ascii().to_string().replace("\\n", "\n"));
    if hidden_bytes > 0 {
        print(format_args!(
            "({hidden_bytes} of the body's {body_bytes} bytes are not shown; --full shows all of them)"
        ));
    }
}

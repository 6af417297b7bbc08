//! Prints where a message is, or what became of it.

use std::fmt::{Display, Formatter, Result};

use fleet_queue::{ClaimedBatch, Place, Queue};
use fleet_store::{EventKey, TracedEvent, UnstoredMessage};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::commands::trace::find::Trace;
use crate::commands::trace::message_id::time_of;
use crate::commands::trace::stored::{SHOWN, Stored};

/// How long the notes of duplicates and of empty messages are kept.
const NOTES: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Display for Trace {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        writeln!(formatter, "message {}, received {}", self.message.id, self.message.received_at)?;
        for (queue, place) in &self.places {
            match place {
                Place::Waiting { before, of } => writeln!(
                    formatter,
                    "waiting: in the queue of {queue}; about {before} of {of} messages are before it"
                )?,
                Place::Claimed(batch) => claimed(formatter, *queue, batch)?,
            }
        }
        self.stored.print(formatter, self.message.id)?;
        if !self.is_found() {
            self.not_found(formatter)?;
        }
        for what in self.unsearched.iter().chain(&self.stored.unread) {
            writeln!(formatter, "not searched: {what}")?;
        }
        Ok(())
    }
}

fn claimed(formatter: &mut Formatter<'_>, queue: Queue, batch: &ClaimedBatch) -> Result {
    let ClaimedBatch { lease_id, is_parked, until, token, takeovers } = batch;
    let (state, what) = if *is_parked { ("parked", "it is due") } else { ("leased", "the lease expires") };
    write!(formatter, "{state}: in the batch lease_id={lease_id} of the queue of {queue}")?;
    if let Some(claimed_at) = time_of(*lease_id) {
        write!(formatter, ", claimed {claimed_at}")?;
    }
    write!(formatter, "; {what} {until}")?;
    if let Some(token) = token {
        let owner = if *is_parked { "the last owner" } else { "the owner" };
        let since = time_of(*token).map_or_else(String::new, |since| format!(" since {since}"));
        write!(formatter, "; {owner} is {token}{since}")?;
    }
    if *takeovers > 0 {
        write!(formatter, "; {takeovers} owners died while they parsed it")?;
    }
    if *is_parked {
        write!(formatter, ". One database has stored the batch, the other one could not")?;
    }
    writeln!(formatter)
}

impl Stored {
    fn print(&self, formatter: &mut Formatter<'_>, message_id: Uuid) -> Result {
        let count = self.events.count;
        if count > 0 {
            writeln!(formatter, "stored: {count} events in telemetry")?;
        }
        for TracedEvent { key, provider, kind } in &self.events.first {
            // Escape it: a kind is the provider's text and may hold control sequences of terminals.
            writeln!(formatter, "  {provider} {} {}", kind.escape_debug(), self.event(key))?;
        }
        let more = usize::try_from(count).unwrap_or_default().saturating_sub(self.events.first.len());
        if more > 0 {
            writeln!(formatter, "  and {more} more")?;
        }
        if let Some(unstored) = &self.unstored {
            self.print_unstored(formatter, message_id, unstored)?;
        }
        self.print_dead_letters(formatter, message_id)
    }

    fn print_dead_letters(&self, formatter: &mut Formatter<'_>, message_id: Uuid) -> Result {
        if self.dead_letters.is_empty() {
            return Ok(());
        }
        writeln!(formatter, "dead letters: {} of at most {SHOWN}", self.dead_letters.len())?;
        for letter in &self.dead_letters {
            let whose = match letter.event_index {
                -1 => "the whole message".to_owned(),
                index => format!("event {index}"),
            };
            writeln!(
                formatter,
                "  {} {whose}: {} ({}), tried {} times, last at {}",
                letter.provider, letter.reason, letter.detail, letter.attempts, letter.last_dead_at
            )?;
        }
        writeln!(formatter, "  to see it: fleet-consumer dead-letters show {message_id}")?;
        writeln!(
            formatter,
            "  once the cause is gone: fleet-consumer dead-letters replay --message-id {message_id}"
        )
    }

    fn print_unstored(
        &self,
        formatter: &mut Formatter<'_>,
        message_id: Uuid,
        unstored: &UnstoredMessage,
    ) -> Result {
        let UnstoredMessage { provider, events, duplicates, first_duplicate } = unstored;
        let Some(key) = first_duplicate else {
            return writeln!(
                formatter,
                "empty: {provider} sent an array without events; there was nothing to store"
            );
        };
        let event = self.event(key);
        match self.earlier {
            // The message met its own rows when its batch was processed again.
            Some(earlier) if earlier == message_id => {
                let without_row = i64::from(*events) - self.events.count;
                if without_row > 0 {
                    writeln!(
                        formatter,
                        "duplicate: {without_row} of its events have no row of their own. They are in telemetry as events \
                         of other messages, or came twice in this one"
                    )?;
                }
                Ok(())
            }
            Some(earlier) => {
                let received = time_of(earlier).map_or_else(String::new, |time| format!(", received {time}"));
                writeln!(
                    formatter,
                    "duplicate: {duplicates} of {events} events were in telemetry already. The first of them is an event of \
                     message {earlier}{received}:\n  {provider} {event}"
                )
            }
            None => writeln!(
                formatter,
                "duplicate: {duplicates} of {events} events were in telemetry already. The row of the first of them was not \
                 found; retention may have removed it:\n  {provider} {event}"
            ),
        }
    }

    fn event(&self, key: &EventKey) -> String {
        let EventKey { vehicle_id, observed_at, event_id } = key;
        let vehicle = match self.vehicles.get(vehicle_id) {
            Some(name) => format!("{} ({vehicle_id})", name.escape_debug()),
            None => vehicle_id.to_string(),
        };
        format!("vehicle {vehicle}, observed {observed_at}, event {event_id}")
    }
}

impl Trace {
    fn not_found(&self, formatter: &mut Formatter<'_>) -> Result {
        let (id, received_at) = (self.message.id, self.message.received_at);
        let whole = self.unsearched.is_empty() && self.stored.unread.is_empty();
        let place = if whole { "" } else { " in what could be searched" };
        writeln!(formatter, "not found{place}. Possible reasons:")?;
        writeln!(
            formatter,
            "  the API refused it: it logs at most ten refused webhooks a minute for each provider and outcome. Search its \
             logs around {received_at} for message_id={id} (in JSON for the id)"
        )?;
        let age = Timestamp::now().duration_since(received_at);
        if age > SignedDuration::from_hours(i64::from(self.telemetry_days) * 24) {
            let days = self.telemetry_days;
            writeln!(
                formatter,
                "  retention has removed it: telemetry is kept for {days} days after it was observed"
            )?;
        }
        let notes = if age > NOTES {
            "notes of this are kept for 7 days"
        } else {
            "notes of this are kept of at most 1000 messages of a transaction"
        };
        writeln!(formatter, "  it had no event, or telemetry had all of its events before: {notes}")?;
        writeln!(formatter, "  it was accepted, but Redis lost it: see fleet-consumer audit")
    }
}

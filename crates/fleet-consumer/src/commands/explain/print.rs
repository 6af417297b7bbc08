//! Prints an explanation.

use std::fmt;

use fleet_providers::DropReason;
use uuid::Uuid;

use crate::commands::attribute_text::AttributeText;
use crate::commands::explain::explanation::{Count, Explained, Explanation, Later, MAX_EVENTS, SetBy};

/// How many characters of a message's value are printed.
const MAX_WRITTEN_CHARS: usize = 60;

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vehicle = &self.vehicle;
        writeln!(formatter, "{} {}", self.provider.slug, vehicle.provider_vehicle_id)?;
        writeln!(formatter, "  vehicle_id     {}", vehicle.vehicle_id)?;
        writeln!(formatter, "  first webhook  {}", vehicle.first_seen_at)?;
        writeln!(formatter, "  last webhook   {}", vehicle.last_seen_at)?;
        if let Some(at) = vehicle.clock_skewed_at {
            writeln!(formatter, "  the webhook of {at} had a time that cannot be true")?;
        }
        let all = if self.events as i64 >= MAX_EVENTS { "its newest" } else { "all of its" };
        writeln!(formatter, "  read {all} {} events in telemetry", self.events)?;
        if self.unparsable > 0 {
            writeln!(formatter, "  {} of them cannot be parsed by this release", self.unparsable)?;
        }
        self.attributes.iter().try_for_each(|attribute| write!(formatter, "\n{attribute}"))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.attribute.name();
        match &self.stored {
            None if self.later.has_no_value() => return writeln!(formatter, "{name}: never reported"),
            None => writeln!(formatter, "{name}: never reported with a value that could be used")?,
            Some(shown) => {
                let AttributeText { value, at, .. } = shown;
                writeln!(formatter, "{name}: {value}")?;
                writeln!(formatter, "  observed at {at}")?;
                let when = shown.receipt().map_or_else(String::new, |receipt| format!(" at {receipt}"));
                match self.set_by {
                    Some(SetBy::Original(message)) => {
                        writeln!(formatter, "  received{when} with message {message}")?;
                    }
                    Some(SetBy::Repetition(message)) => {
                        writeln!(formatter, "  received{when} with a repetition of message {message}")?;
                    }
                    None => writeln!(formatter, "  received{when}; its message was not found in telemetry")?,
                }
            }
        }
        write!(formatter, "{}", self.later)
    }
}

impl Later {
    /// Whether no event had a value of the attribute.
    fn has_no_value(&self) -> bool {
        let counts = [&self.older, &self.received_earlier, &self.newer];
        self.dropped.is_empty() && counts.iter().all(|count| count.count == 0)
    }
}

impl fmt::Display for Later {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.without_it > 0 {
            writeln!(formatter, "  since then {} without it", events(self.without_it))?;
        }
        for (reason, count) in &self.dropped {
            let Some((written, message)) = &count.newest else { continue };
            let written: String = written.escape_debug().take(MAX_WRITTEN_CHARS).collect();
            let (events, why) = (events(count.count), why(*reason));
            writeln!(
                formatter,
                "  since then {events} {why}, the newest with {written} (message {message})"
            )?;
        }
        write_count(formatter, &self.older, "with an earlier time for it")?;
        write_count(formatter, &self.received_earlier, "with the same time, received earlier")?;
        let newer = "that should have changed it (run `fleet-consumer replay` for their time)";
        write_count(formatter, &self.newer, newer)
    }
}

fn write_count(formatter: &mut fmt::Formatter<'_>, count: &Count<AttributeText>, what: &str) -> fmt::Result {
    let Some((AttributeText { value, at, .. }, message)) = &count.newest else { return Ok(()) };
    let events = events(count.count);
    writeln!(formatter, "  since then {events} {what}, the newest with {value} at {at} (message {message})")
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn why(reason: DropReason) -> &'static str {
    match reason {
        DropReason::NotUnderstood => "not understood",
        DropReason::OutOfRange => "with a value that cannot be true",
        DropReason::NoFix => "without a fix",
        DropReason::TimeNotUnderstood => "with a time for it that cannot be read (the event's time counts)",
        DropReason::TimeImplausible => "with a time for it that cannot be true (the event's time counts)",
        DropReason::UnknownType => "of a type that is not known",
        DropReason::InvalidCharacter => "with a character that cannot be stored",
    }
}

/// The error for a vehicle without any state.
pub(crate) fn unknown(slug: &str, provider_vehicle_id: &str, vehicle_id: Uuid) -> String {
    format!(
        "no event of {slug} {provider_vehicle_id:?} (vehicle_id {vehicle_id}) changed any state. Compare the id with \
         provider_vehicle_id in `vehicles` (its case counts), and look for dead letters with `fleet-consumer dead-letters list`"
    )
}

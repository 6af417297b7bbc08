//! Counts the values of events that are present but not used: they show that a provider has changed what it sends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_providers::{Attribute, DropReason, DroppedValue};

use crate::batch::record::Record;
use crate::metrics::dropped::DroppedCounts;

/// How often an example of the same attribute and reason is logged.
const EXAMPLE_EVERY: Duration = Duration::from_secs(60);

/// The longest example, in characters.
const MAX_EXAMPLE_CHARS: usize = 40;

/// Counts the unused values of one provider.
#[derive(Debug)]
pub(crate) struct UnusedValues {
    provider: &'static str,
    /// When the last example of each attribute and reason was logged.
    logged: Mutex<HashMap<(Attribute, DropReason), Instant>>,
}

impl UnusedValues {
    pub(crate) fn new(provider: &'static str) -> Self {
        Self { provider, logged: Mutex::default() }
    }

    /// Counts the unused values of these records, and logs an example of each kind at most once a minute.
    pub(crate) fn note(&self, records: &[Record<'_>], counts: &mut DroppedCounts) {
        for record in records {
            let Ok(event) = &record.outcome else { continue };
            for dropped in &event.dropped {
                counts.add(dropped.attribute, dropped.reason);
                if tracing::enabled!(tracing::Level::DEBUG) && self.is_due(dropped) {
                    self.log(record, dropped);
                }
            }
        }
    }

    fn is_due(&self, dropped: &DroppedValue<'_>) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, now) = ((dropped.attribute, dropped.reason), Instant::now());
        let is_due = logged.get(&key).is_none_or(|last| now.duration_since(*last) >= EXAMPLE_EVERY);
        if is_due {
            logged.insert(key, now);
        }
        is_due
    }

    fn log(&self, record: &Record<'_>, dropped: &DroppedValue<'_>) {
        tracing::debug!(
            provider = self.provider,
            message_id = %record.message.message_id,
            event_index = record.event_index,
            attribute = dropped.attribute.name(),
            reason = dropped.reason.name(),
            example = notation(&dropped.written),
            "a value is present but not used; digits of the example are written as 9"
        );
    }
}

/// The notation of a value without its content, because it may be personal data. Each digit becomes 9. Letters are kept only
/// if the value is a single word in upper or lower case, as providers write states. So neither a position nor a name can be
/// read from it.
fn notation(written: &str) -> String {
    let has_only =
        |is_letter: fn(&char) -> bool| written.chars().all(|letter| letter == '_' || is_letter(&letter));
    let is_word = has_only(char::is_ascii_uppercase) || has_only(char::is_ascii_lowercase);
    let masked = |letter: char| match letter {
        '0'..='9' => '9',
        letter if letter.is_ascii_punctuation() || letter == ' ' => letter,
        letter if letter.is_ascii_alphabetic() && is_word => letter,
        letter if letter.is_alphabetic() => 'x',
        _ => '?',
    };
    written.chars().take(MAX_EXAMPLE_CHARS).map(masked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_the_notation_and_nothing_else() {
        for (written, expected) in [
            ("52,520008", "99,999999"),
            ("-1.5e9", "-9.9x9"),
            ("DEADLOCKED", "DEADLOCKED"),
            ("in_use", "in_use"),
            ("Mueller", "xxxxxxx"),
            ("39 km", "99 xx"),
            ("Jane Doe, Main St. 5", "xxxx xxx, xxxx xx. 9"),
            ("{\"lat\":52.5}", "{\"xxx\":99.9}"),
            ("10\u{202f}\u{e4}\u{0}", "99?x?"),
            ("", ""),
        ] {
            assert_eq!(notation(written), expected, "{written}");
        }
        assert_eq!(notation(&"7".repeat(5_000)).len(), MAX_EXAMPLE_CHARS);
    }
}

//! Saying which messages could not be stored: one log line and one count each.

use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;
use crate::metrics;

/// Most lines of one part: a provider that sends nothing but nonsense must not fill the log.
const MAX_LINES: usize = 8;

/// Counts and logs dead letters that have been stored. What is wrong with one stands in the dead letter itself, as it may
/// quote the message.
pub(crate) fn log_dead_letters<'a>(
    provider: &'static str,
    lease_id: Uuid,
    letters: impl Iterator<Item = (&'a Record<'a>, &'a Rejection)>,
) {
    let mut count = 0;
    for (record, rejection) in letters {
        metrics::writes::dead_letter(provider, rejection.reason);
        count += 1;
        if count <= MAX_LINES {
            tracing::warn!(
                provider,
                message_id = %record.message.message_id,
                trace_id = record.message.trace_id,
                event_index = record.event_index,
                reason = rejection.reason,
                %lease_id,
                "a message, or one event of it (from 0), cannot be stored and is a dead letter: \
                 look with fleet-consumer dead-letters show"
            );
        }
    }
    if count > MAX_LINES {
        let more = count - MAX_LINES;
        tracing::warn!(
            provider,
            more,
            %lease_id,
            "more dead letters of the same batch: look with fleet-consumer dead-letters list"
        );
    }
}

//! Counts and logs dead letters.

use uuid::Uuid;

use crate::batch::record::Record;
use crate::batch::rejection::Rejection;
use crate::metrics;

/// Most lines of one transaction, so that a provider that sends garbage cannot fill the log.
const MAX_LINES: usize = 8;

/// Counts and logs dead letters that have been stored. The log does not say what is wrong with the message, because that may
/// quote the message. The dead letter says it.
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
                "a message, or one of its events (counted from 0), cannot be stored and became a dead letter: \
                 see fleet-consumer dead-letters show"
            );
        }
    }
    if count > MAX_LINES {
        let more = count - MAX_LINES;
        tracing::warn!(
            provider,
            more,
            %lease_id,
            "more dead letters of the same batch: see fleet-consumer dead-letters list"
        );
    }
}

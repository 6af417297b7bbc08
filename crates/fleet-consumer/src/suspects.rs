//! Parsing a batch that has ended its consumers, message by message.

use fleet_providers::{Limits, Provider};
use fleet_queue::Mark;

use crate::batch::{Fault, Record, parse_item, refuse_item};
use crate::held::HeldLease;
use crate::metrics::BatchCounts;
use crate::worker::count;

/// Marks each message before it is parsed: the one that kills this process is found under the mark by the next owner, which
/// makes it a dead letter. Returns the mark to leave behind; `None`: the batch is another consumer's by now.
pub(crate) async fn parse_singly<'a>(
    held: HeldLease<'a>,
    provider: &'static Provider,
    limits: &Limits,
    records: &mut Vec<Record<'a>>,
) -> Option<(BatchCounts, Mark)> {
    let lease = held.lease;
    let mut killers = match &lease.mark {
        Mark::Items(indexes) => indexes.clone(),
        Mark::Clear | Mark::Parsing => Vec::new(),
    };
    tracing::warn!(
        queue = held.queue, lease_id = %lease.id, takeovers = lease.takeovers, killers = ?killers,
        "this batch ended the consumers that parsed it: parsing its messages one by one"
    );
    let mut counts = BatchCounts::default();
    for (index, item) in lease.items.iter().enumerate() {
        let before = records.len();
        if killers.contains(&index) {
            records.push(refuse_item(item, Fault::killed()));
        } else {
            killers.push(index);
            if !held.mark(&Mark::Items(killers.clone())).await {
                return None;
            }
            parse_item(provider, limits, item, records);
            killers.pop();
        }
        count(&mut counts, &records[before..]);
    }
    // The killers must stay known: if this process dies while it writes, the next owner parses again.
    let mark = if killers.is_empty() { Mark::Clear } else { Mark::Items(killers) };
    Some((counts, mark))
}

//! One batch, from its messages to both databases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_failpoints::Failpoint;
use fleet_providers::{Limits, Provider};
use fleet_queue::{Envelope, Lease};
use fleet_runtime::liveness::idle;
use fleet_store::StoreError;
use jiff::Timestamp;

use crate::batch::rejection::Rejection;
use crate::batch::slices::{LARGE_SLICE_RECORDS, Parsing, SLICE_RECORDS, Slice, Slices, Tally};
use crate::batch::unused_values::UnusedValues;
use crate::isolate::isolated_parser::IsolatedParser;
use crate::lease::held_lease::HeldLease;
use crate::lease::obtained::Origin;
use crate::lease::parsing_mark::ParsingMark;
use crate::metrics;
use crate::metrics::batches::BatchCounts;
use crate::rate_limit::RateLimit;
use crate::write::batch::{Batch, Stored, Written};
use crate::write::slice_reader::SliceReader;
use crate::write::writer::Writer;

/// After so many consumers died while they parsed a batch, its messages are parsed in isolation.
const MAX_TAKEOVERS: u32 = 3;

/// Parses and writes the batches of one provider.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) provider: &'static Provider,
    pub(crate) limits: Limits,
    /// Most rows in one transaction.
    pub(crate) max_rows: usize,
    pub(crate) isolated_parser: Arc<IsolatedParser>,
    pub(crate) unused_values: UnusedValues,
    pub(crate) rate_limit: Arc<RateLimit>,
    pub(crate) writer: Writer,
}

/// How far a batch has come when the consumer is done with it.
#[derive(Clone, Copy)]
pub(crate) enum Progress {
    /// Both databases have it.
    Both,
    /// One database has it.
    One,
    /// Whether one of its messages crashes the parser could not be found out.
    Undecided,
    /// Another consumer owns it by now.
    Lost,
}

impl Pipeline {
    /// Parses a batch and writes it.
    pub(crate) async fn store(
        &self,
        held: HeldLease<'_>,
        origin: Origin,
        is_large: bool,
    ) -> Result<Progress, StoreError> {
        let (started, lease) = (Instant::now(), held.lease);
        let Some(poison) = self.poison_messages(lease).await else { return Ok(Progress::Undecided) };
        let (first, rest, tally) = self.parse(lease, &poison, is_large).await;
        if Failpoint::AckBeforeCommit.is_active() {
            held.ack().await;
        }
        let mark = ParsingMark::new(held);
        let batch = Batch { lease, origin, provider: self.provider.slug, records: tally.records };
        let writing = self.write(batch, SliceReader::new(first, rest, &mark));
        let (is_ours, stored) = mark.during(writing).await;
        let written = match stored? {
            Stored::Both(written) => written,
            Stored::One if is_ours => return Ok(Progress::One),
            Stored::One => return Ok(Progress::Lost),
        };
        self.count(lease, &tally, written, started.elapsed());
        Ok(if is_ours { Progress::Both } else { Progress::Lost })
    }

    /// The messages that crash the parser. `None` if that could not be found out.
    async fn poison_messages(&self, lease: &Lease) -> Option<BTreeMap<usize, Rejection>> {
        if lease.takeovers < MAX_TAKEOVERS {
            return Some(BTreeMap::new());
        }
        idle(self.isolated_parser.poison_messages(self.provider, &self.limits, lease)).await
    }

    /// Parses the first slice, which usually is the whole batch. Later slices are only counted.
    async fn parse<'a>(
        &'a self,
        lease: &'a Lease,
        poison: &'a BTreeMap<usize, Rejection>,
        is_large: bool,
    ) -> (Slice<'a>, Slices<'a>, Tally) {
        let slice_records = if is_large {
            LARGE_SLICE_RECORDS.min(3 * self.max_rows)
        } else {
            SLICE_RECORDS.min(self.max_rows)
        };
        let parsing = Parsing { provider: self.provider, limits: &self.limits, slice_records };
        let mut rest = Slices::new(parsing, &lease.items, poison);
        let first = rest.next_slice();
        let mut tally = Tally::default();
        tally.add(&first, &self.unused_values);
        if !rest.is_done() {
            let mut counted = rest.clone();
            while !counted.is_done() {
                tokio::task::yield_now().await;
                tally.add(&counted.next_slice(), &self.unused_values);
            }
        }
        (first, rest, tally)
    }

    async fn write(&self, batch: Batch<'_>, slices: SliceReader<'_>) -> Result<Stored, StoreError> {
        // The rate limit has counted a resumed batch before.
        if batch.origin != Origin::Resumed {
            idle(self.rate_limit.wait(batch.records)).await;
        }
        self.writer.write(batch, slices).await
    }

    fn count(&self, lease: &Lease, tally: &Tally, written: Written, duration: Duration) {
        let slug = self.provider.slug;
        let counts = with_written(tally.counts, written);
        metrics::batches::settled(slug, counts, lease.items.len(), duration, age(lease));
        tally.dropped.publish(slug);
        tracing::debug!(provider = slug, lease_id = %lease.id, ?counts, "stored a batch");
    }
}

/// How long ago the batch's first message was received.
fn age(lease: &Lease) -> Duration {
    let oldest = lease.items.first().and_then(|item| Envelope::decode(item).ok());
    let age = oldest.map(|oldest| Timestamp::now().duration_since(oldest.received_at));
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
}

fn with_written(counts: BatchCounts, written: Written) -> BatchCounts {
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    BatchCounts {
        inserted: wide(written.inserted),
        duplicate: wide(written.duplicate),
        dead_lettered: wide(written.dead_lettered),
        ..counts
    }
}

//! Going through a batch slice by slice, and what Redis knows of it meanwhile.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::Mark;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::batch::slices::{Slice, Slices};
use crate::lease::held_lease::HeldLease;

/// How long a batch may be with the databases before its mark is taken away.
const NOTE_AFTER: Duration = Duration::from_millis(200);

/// One side's way through a batch. The first slice is parsed once for both sides, and mostly it is the whole batch; each
/// side parses the others for itself, so that neither waits for the other one and neither keeps a slice for it.
#[derive(Clone, Debug)]
pub(crate) struct SliceReader<'a> {
    first: Option<Arc<Slice<'a>>>,
    rest: Slices<'a>,
    marker: &'a ParsingMark<'a>,
}

impl<'a> SliceReader<'a> {
    pub(crate) fn new(first: Slice<'a>, rest: Slices<'a>, marker: &'a ParsingMark<'a>) -> Self {
        Self { first: Some(Arc::new(first)), rest, marker }
    }

    /// The next slice. Drop the one before first.
    pub(crate) async fn next(&mut self) -> Option<Arc<Slice<'a>>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.rest.is_done() {
            return None;
        }
        // A slice takes the processor for milliseconds: other batches and heartbeats come in between.
        tokio::task::yield_now().await;
        self.marker.before_parsing().await;
        Some(Arc::new(self.rest.next_slice()))
    }
}

/// Marks a batch while it is parsed: a death meanwhile may be the rejection of its messages, one while the databases have it
/// cannot.
#[derive(Debug)]
pub(crate) struct ParsingMark<'a> {
    held: HeldLease<'a>,
    /// Held while Redis is told.
    known: Mutex<Known>,
    parsed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    is_marked: bool,
    parsed_at: Instant,
    /// No reply has said that the batch is another consumer's by now.
    is_ours: bool,
}

impl<'a> ParsingMark<'a> {
    /// Of a batch that has just been taken and parsed: it was marked then.
    pub(crate) fn new(held: HeldLease<'a>) -> Self {
        let known = Known { is_marked: true, parsed_at: Instant::now(), is_ours: true };
        Self { held, known: Mutex::new(known), parsed: Notify::new() }
    }

    /// Has the batch marked when it returns. Parse without waiting for anything in between.
    async fn before_parsing(&self) {
        let mut known = self.known.lock().await;
        if !known.is_marked {
            known.is_ours &= self.held.mark(Mark::Parsing).await;
            known.is_marked = true;
        }
        known.parsed_at = Instant::now();
        self.parsed.notify_one();
    }

    /// Waits for the databases, and takes the mark away while they have the batch. `false`: it is another consumer's by now.
    pub(crate) async fn during<T, E>(
        &self,
        writing: impl Future<Output = Result<T, E>>,
    ) -> (bool, Result<T, E>) {
        let written = {
            let (writing, clearing) = (pin!(writing), pin!(self.keep_clear()));
            tokio::select! {
                biased;
                written = writing => written,
                never = clearing => match never {},
            }
        };
        if written.is_err() {
            // What follows is not the messages' rejection.
            self.clear().await;
        }
        (self.known.lock().await.is_ours, written)
    }

    /// Mostly the ack follows soon and says as much: a first death before then counts against the batch, but it takes more
    /// than one.
    async fn keep_clear(&self) -> Infallible {
        let note_after = if self.held.lease.takeovers == 0 { NOTE_AFTER } else { Duration::ZERO };
        loop {
            let due = self.known.lock().await.parsed_at + note_after;
            if Instant::now() < due {
                tokio::time::sleep_until(due).await;
            } else {
                self.clear().await;
                self.parsed.notified().await;
            }
        }
    }

    async fn clear(&self) {
        let mut known = self.known.lock().await;
        if known.is_marked {
            known.is_ours &= self.held.mark(Mark::Clear).await;
            known.is_marked = false;
        }
    }
}

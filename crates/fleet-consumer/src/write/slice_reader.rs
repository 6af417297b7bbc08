//! Hands the slices of a batch to one database's writer.

use std::sync::Arc;

use crate::batch::slices::{Slice, Slices};
use crate::lease::parsing_mark::ParsingMark;

/// The slices of a batch, for the writer of one database. The first slice is parsed once and shared by both writers: most
/// batches have no other. Each writer parses the later slices for itself. So neither waits for the other, and no slice is
/// kept in memory for the slower one.
#[derive(Clone, Debug)]
pub(crate) struct SliceReader<'a> {
    first: Option<Arc<Slice<'a>>>,
    rest: Slices<'a>,
    mark: &'a ParsingMark<'a>,
}

impl<'a> SliceReader<'a> {
    pub(crate) fn new(first: Slice<'a>, rest: Slices<'a>, mark: &'a ParsingMark<'a>) -> Self {
        Self { first: Some(Arc::new(first)), rest, mark }
    }

    /// The next slice. Drop the previous one first, which takes as much memory.
    pub(crate) async fn next(&mut self) -> Option<Arc<Slice<'a>>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.rest.is_done() {
            return None;
        }
        // Parsing a slice blocks this thread for milliseconds. Let other batches and heartbeats run in between.
        tokio::task::yield_now().await;
        self.mark.before_parsing().await;
        Some(Arc::new(self.rest.next_slice()))
    }
}

//! Marks a batch in Redis while this consumer parses it.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use fleet_queue::Mark;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::lease::held_lease::HeldLease;

/// How long after parsing the mark is removed, if the batch is not acknowledged before.
const CLEAR_AFTER: Duration = Duration::from_millis(200);

/// The mark of a batch. If a consumer dies while its batch is marked, a message of the batch may have crashed it. If it dies
/// while the databases store the batch, no message is to blame.
#[derive(Debug)]
pub(crate) struct ParsingMark<'a> {
    held: HeldLease<'a>,
    /// Locked while Redis is told, so that both writers of a batch see the same.
    known: Mutex<Known>,
    parsed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    is_marked: bool,
    parsed_at: Instant,
    /// No reply has said that another consumer owns the batch.
    is_ours: bool,
}

impl<'a> ParsingMark<'a> {
    /// The mark of a batch that has just been claimed and parsed: the claim set the mark.
    pub(crate) fn new(held: HeldLease<'a>) -> Self {
        let known = Known { is_marked: true, parsed_at: Instant::now(), is_ours: true };
        Self { held, known: Mutex::new(known), parsed: Notify::new() }
    }

    /// Marks the batch. Parse right after it returns, without an `await` in between.
    pub(crate) async fn before_parsing(&self) {
        let mut known = self.known.lock().await;
        if !known.is_marked {
            known.is_ours &= self.held.mark(Mark::Parsing).await;
            known.is_marked = true;
        }
        known.parsed_at = Instant::now();
        self.parsed.notify_one();
    }

    /// Waits for `writing`, and removes the mark while the databases store the batch. Returns `false` if another consumer
    /// owns the batch by now.
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
            // The consumer ends now, which is not the messages' fault.
            self.clear().await;
        }
        (self.known.lock().await.is_ours, written)
    }

    /// Removes the mark each time the parser is done. Usually the ack follows before that and removes it too, which saves a
    /// call to Redis. A consumer that dies before the ack leaves the mark, but one such death does not count yet.
    async fn keep_clear(&self) -> Infallible {
        let clear_after = if self.held.lease.takeovers == 0 { CLEAR_AFTER } else { Duration::ZERO };
        loop {
            let due = self.known.lock().await.parsed_at + clear_after;
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

//! Whether a queue's backlog is above its part of the provider's cap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::CommitMetrics;

/// Decides when a queue accepts no more webhooks, and when it accepts them again.
#[derive(Debug)]
pub(super) struct Cap {
    max_bytes: u64,
    /// Shared with the requests, which read it before a push.
    shedding: Arc<AtomicBool>,
    /// The backlog was above its cap, and only the next push can show its size.
    probing: bool,
    metrics: CommitMetrics,
}

impl Cap {
    pub(super) fn new(max_bytes: u64, shedding: Arc<AtomicBool>, metrics: CommitMetrics) -> Self {
        Self { max_bytes, shedding, probing: false, metrics }
    }

    /// Whether webhooks are refused.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Acquire)
    }

    /// Evaluates the backlog after a push.
    pub(super) fn pushed(&mut self, backlog_bytes: u64) {
        let is_above = backlog_bytes > self.max_bytes;
        match (self.probing, is_above) {
            (false, true) => self.shed(true, backlog_bytes),
            (true, true) => self.shedding.store(true, Ordering::Release),
            (true, false) => self.shed(false, backlog_bytes),
            (false, false) => {}
        }
    }

    /// Evaluates the backlog while webhooks are refused. They are accepted again below nine tenths of the cap.
    pub(super) fn looked(&mut self, backlog_bytes: u64) {
        if backlog_bytes <= self.max_bytes - self.max_bytes / 10 {
            self.shed(false, backlog_bytes);
        }
    }

    /// Lets the next push through. Its reply shows the queue's length, because the ledger cannot be read.
    pub(super) fn probe(&mut self) {
        self.probing = true;
        self.shedding.store(false, Ordering::Release);
    }

    fn shed(&mut self, shedding: bool, backlog_bytes: u64) {
        self.probing = false;
        self.shedding.store(shedding, Ordering::Release);
        self.metrics.shedding(shedding);
        let (provider, cap_bytes) = (self.metrics.provider, self.max_bytes);
        if shedding {
            tracing::warn!(
                provider,
                queue = %self.metrics.queue,
                backlog_bytes,
                cap_bytes,
                "backlog above its cap: accepting no more webhooks until consumers catch up"
            );
        } else {
            tracing::info!(
                provider,
                queue = %self.metrics.queue,
                backlog_bytes,
                cap_bytes,
                "backlog below its cap again: accepting webhooks"
            );
        }
    }
}
